"""
When each table or tree of a sync last changed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stream",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("schema", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("changed_at", sa.Integer, nullable=False),
        sa.Column("lag_s", sa.Float),
    )


def downgrade() -> None:
    op.drop_table("stream")
