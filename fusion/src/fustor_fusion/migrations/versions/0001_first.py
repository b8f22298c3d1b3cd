"""
Sessions, syncs (epoch and checkpoint) and snapshots.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sync",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("agent_id", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("checkpoint", sa.Integer, nullable=False),
        sa.Column("asked_checkpoint", sa.Integer, nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("wanted", sa.Boolean, nullable=False),
        sa.Column("request", sa.Text),
        sa.Column("last_event_at", sa.Integer),
    )
    op.create_table(
        "snapshot",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("snapshot_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("start_index", sa.Integer, nullable=False),
        sa.Column("tables", sa.Text),
        sa.Column("marked", sa.Boolean, nullable=False),
        sa.Column("gap", sa.Boolean, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("swept", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Integer, nullable=False),
        sa.Column("ended_at", sa.Integer),
        sa.UniqueConstraint("task_id", "snapshot_id"),
    )
    op.create_table(
        "session",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("last_seen", sa.Integer, nullable=False),
    )


    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("meta")
    op.drop_table("session")
    op.drop_table("snapshot")
    op.drop_table("sync")
