"""
Roles and memberships, refresh tokens, policies of datastores, life of keys, agents, an audit trail that can't be altered.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

IN_USE = sa.text("revoked_at IS NULL AND replaced_by IS NULL")


def upgrade() -> None:
    connection = op.get_bind()
    _users()
    _logins()
    _datastores(connection)
    _keys()
    op.create_table(
        "agents",
        sa.Column(
            "datastore_id", sa.String(32), sa.ForeignKey("datastores.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("agent_id", sa.String(100), primary_key=True),
        sa.Column("version", sa.String(50), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("address", sa.String(100), nullable=False),
        sa.Column("syncs", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(8), nullable=False),
        sa.Column("first_seen_at", sa.String(40), nullable=False),
        sa.Column("last_seen_at", sa.String(40), nullable=False),
    )
    _audit(connection)


def _users() -> None:
    op.add_column("users", sa.Column("role", sa.String(20), nullable=False, server_default="member"))
    # Who was no admin could make datastores.
    op.execute(sa.text("UPDATE users SET role = CASE WHEN is_admin THEN 'admin' ELSE 'owner' END"))
    op.drop_column("users", "is_admin")
    for name in ("disabled", "must_change_password"):
        op.add_column("users", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("users", sa.Column("last_login_at", sa.String(40)))


def _logins() -> None:
    op.drop_table("login_tokens")  # people log in again
    op.create_table(
        "logins",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
        sa.Column("expires_at", sa.String(40), nullable=False),
        sa.Column("last_used_at", sa.String(40), nullable=False),
        sa.Column("address", sa.String(100), nullable=False),
        sa.Column("client", sa.String(200), nullable=False),
        sa.Column("ended_at", sa.String(40)),
    )
    op.create_index("ix_logins_user_id", "logins", ["user_id"])
    op.create_index("ix_logins_expires_at", "logins", ["expires_at"])
    op.create_table(
        "access_tokens",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("login_id", sa.String(16), sa.ForeignKey("logins.id", ondelete="CASCADE"), nullable=False),
        sa.Column("expires_at", sa.String(40), nullable=False),
    )
    op.create_index("ix_access_tokens_login_id", "access_tokens", ["login_id"])
    op.create_index("ix_access_tokens_expires_at", "access_tokens", ["expires_at"])
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("login_id", sa.String(16), sa.ForeignKey("logins.id", ondelete="CASCADE"), nullable=False),
        sa.Column("used_at", sa.String(40)),
    )
    op.create_index("ix_refresh_tokens_login_id", "refresh_tokens", ["login_id"])
    op.create_table(
        "guesses",
        sa.Column("subject", sa.String(80), primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
    )
    op.create_index("ix_guesses_last_at", "guesses", ["last_at"])


def _datastores(connection: sa.Connection) -> None:
    op.add_column(
        "datastores", sa.Column("allow_concurrent_sessions", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.add_column("datastores", sa.Column("session_timeout_s", sa.Float()))
    op.add_column("datastores", sa.Column("retention_days", sa.Integer()))
    op.add_column("datastores", sa.Column("max_rows", sa.BigInteger()))
    op.add_column("datastores", sa.Column("max_bytes", sa.BigInteger()))
    op.create_table(
        "memberships",
        sa.Column(
            "datastore_id", sa.String(32), sa.ForeignKey("datastores.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("created_at", sa.String(40), nullable=False),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"])
    # Whoever made a datastore owns it; the audit trail knows who that was.
    users = {name: number for name, number in connection.execute(sa.text("SELECT name, id FROM users"))}
    there = set(connection.execute(sa.text("SELECT id FROM datastores")).scalars())
    made = connection.execute(sa.text("SELECT actor, details, at FROM audit WHERE action = 'datastore.create'"))
    for actor, details, at in made.all():
        datastore_id = json.loads(details).get("id")
        if actor in users and datastore_id in there:
            connection.execute(
                sa.text("INSERT INTO memberships VALUES (:datastore, :user, 'owner', :at)"),
                {"datastore": datastore_id, "user": users[actor], "at": at},
            )


def _keys() -> None:
    op.drop_index("uq_api_keys_live_name", "api_keys")
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("created_by", sa.String(100)))
        user = sa.ForeignKey("users.id", name="fk_api_keys_created_by_id", ondelete="SET NULL")
        table.add_column(sa.Column("created_by_id", sa.Integer(), user))
        for name, length in (("expires_at", 40), ("last_used_at", 40), ("replaced_by", 8)):
            table.add_column(sa.Column(name, sa.String(length)))
    by = "(SELECT min(actor) FROM audit WHERE action = 'key.create' AND target = api_keys.id)"
    op.execute(sa.text(f"UPDATE api_keys SET created_by = {by}"))
    op.execute(sa.text("UPDATE api_keys SET created_by_id = (SELECT id FROM users WHERE name = created_by)"))
    op.create_index(
        "uq_api_keys_live_name",
        "api_keys",
        ["datastore_id", "name"],
        unique=True,
        sqlite_where=IN_USE,
        postgresql_where=IN_USE,
    )


def _audit(connection: sa.Connection) -> None:
    op.add_column("audit", sa.Column("datastore_id", sa.String(32)))
    op.add_column("audit", sa.Column("before", sa.Text()))
    op.add_column("audit", sa.Column("after", sa.Text()))
    op.add_column("audit", sa.Column("address", sa.String(100), nullable=False, server_default=""))
    op.add_column("audit", sa.Column("request_id", sa.String(64), nullable=False, server_default=""))
    for column in ("datastore_id", "actor", "target"):
        op.create_index(f"ix_audit_{column}", "audit", [column])
    # What owners of a datastore may read.
    of_key = "SELECT datastore_id FROM api_keys WHERE api_keys.id = audit.target"
    op.execute(sa.text(f"UPDATE audit SET datastore_id = ({of_key}) WHERE action IN ('key.create', 'key.revoke')"))
    made = connection.execute(sa.text("SELECT id, details FROM audit WHERE action = 'datastore.create'"))
    for number, details in made.all():
        connection.execute(
            sa.text("UPDATE audit SET datastore_id = :datastore WHERE id = :id"),
            {"datastore": json.loads(details).get("id"), "id": number},
        )
    if connection.dialect.name == "sqlite":
        for deed in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_no_{deed.lower()} BEFORE {deed} ON audit"
                " BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )


def downgrade() -> None:
    raise NotImplementedError("the audit trail of the newer schema would be lost: restore the copy made before the upgrade")
