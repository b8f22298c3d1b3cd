"""
Runs migrations on the connection that `fustor_registry.store` gives.
"""

from alembic import context

from fustor_registry.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite can't alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
