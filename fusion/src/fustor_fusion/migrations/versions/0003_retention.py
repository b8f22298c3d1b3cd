"""
How long each sync has not been fed, and when its data was removed for that.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sync", sa.Column("unfed_s", sa.Float, nullable=False, server_default="0"))
    op.add_column("sync", sa.Column("removed_at", sa.Integer))


def downgrade() -> None:
    op.drop_column("sync", "removed_at")
    op.drop_column("sync", "unfed_s")
