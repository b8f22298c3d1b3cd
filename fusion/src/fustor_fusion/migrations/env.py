"""
Runs the migrations on the file named in the configuration's attributes (see `fustor_fusion.store.schema`).
"""

from alembic import context
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import URL

engine = create_engine(URL.create("sqlite", database=str(context.config.attributes["path"])), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
