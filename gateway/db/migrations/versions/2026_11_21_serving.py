"""serving"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "deployment_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("replica", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment_events")),
    )
    op.create_index("ix_deployment_events_created_at", "deployment_events", ["created_at"], unique=False)
    op.create_index(
        "ix_deployment_events_model_id_created_at", "deployment_events", ["model_id", "created_at"], unique=False
    )
    op.create_table(
        "replicas",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("watcher", sa.String(), nullable=True),
        sa.Column("watched_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("loads", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("evictions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_replicas")),
    )
    op.create_table(
        "upstreams",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("base_urls", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("models", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("secret_headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("encrypted_headers", sa.LargeBinary(), nullable=True),
        sa.Column("encrypted_key", sa.LargeBinary(), nullable=True),
        sa.Column("key_hint", sa.String(), nullable=True),
        sa.Column("organization", sa.String(), nullable=True),
        sa.Column("project", sa.String(), nullable=True),
        sa.Column("proxy", sa.String(), nullable=True),
        sa.Column("encrypted_proxy", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstreams")),
    )
    op.create_index(
        "uq_upstreams_name", "upstreams", ["name"], unique=True, postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.create_table(
        "routes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_routes_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routes")),
    )
    op.create_index(
        "uq_routes_name_project_id",
        "routes",
        ["name", sa.literal_column("coalesce(project_id, '')")],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "route_revisions",
        sa.Column("route_id", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("restores", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["route_id"], ["routes.id"], name=op.f("fk_route_revisions_route_id_routes")),
        sa.PrimaryKeyConstraint("route_id", "number", name=op.f("pk_route_revisions")),
    )
    op.create_table(
        "loaded_models",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("replica", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("probe", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_loaded_models_model_id_models")),
        sa.PrimaryKeyConstraint("model_id", "replica", name=op.f("pk_loaded_models")),
    )
    op.add_column("exchanges", sa.Column("route", sa.String(), nullable=True))
    op.add_column("exchanges", sa.Column("attempts", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("models", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "last_used_at")
    op.drop_column("exchanges", "attempts")
    op.drop_column("exchanges", "route")
    op.drop_table("loaded_models")
    op.drop_table("route_revisions")
    op.drop_index("uq_routes_name_project_id", table_name="routes", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_table("routes")
    op.drop_index("uq_upstreams_name", table_name="upstreams", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_table("upstreams")
    op.drop_table("replicas")
    op.drop_index("ix_deployment_events_model_id_created_at", table_name="deployment_events")
    op.drop_index("ix_deployment_events_created_at", table_name="deployment_events")
    op.drop_table("deployment_events")
