"""
Of which tables changes went missing while a snapshot was under way.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("snapshot", sa.Column("gap_tables", sa.Text))


def downgrade() -> None:
    op.drop_column("snapshot", "gap_tables")
