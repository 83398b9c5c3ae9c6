"""money and people"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

LEDGER_OF_THE_LOG = """
INSERT INTO ledger
SELECT id, created_at, 'call', project_id, api_key_id, '', '', coalesce(served_model, ''), endpoint, false, priced,
       input_tokens, coalesce(cached_input_tokens, 0), coalesce(output_tokens, 0), 0,
       coalesce(cost_nano, 0), 0, 0, 0, coalesce(cost_nano, 0)
FROM exchanges WHERE input_tokens IS NOT NULL
"""
"""What was used before there was a ledger. The prices of those calls are not known any more: their cost is one sum."""

HOURS_OF_THE_LEDGER = """
INSERT INTO usage_hours
SELECT date_trunc('hour', created_at, 'UTC'), project_id, api_key_id, user_id, model, endpoint, kind, batch, priced,
       count(*), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(device_ms), sum(cost_nano),
       sum(input_nano), sum(cached_input_nano), sum(output_nano), sum(request_nano)
FROM ledger GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""

DAYS_OF_THE_HOURS = """
INSERT INTO usage_days
SELECT date_trunc('day', hour, 'UTC'), project_id, api_key_id, user_id, model, endpoint, kind, batch, priced,
       sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(device_ms), sum(cost_nano),
       sum(input_nano), sum(cached_input_nano), sum(output_nano), sum(request_nano)
FROM usage_hours GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
"""

PROJECTS_OF_THE_KEYS = """
INSERT INTO project_{unit}s
SELECT {unit}, project_id, model, endpoint, kind, batch, priced,
       sum(requests), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(device_ms), sum(cost_nano),
       sum(input_nano), sum(cached_input_nano), sum(output_nano), sum(request_nano)
FROM usage_{unit}s GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


def upgrade() -> None:
    op.create_table(
        "audit_logs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=True),
        sa.Column("actor", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor_id", sa.String(), nullable=True),
        sa.Column("actor_email", sa.String(), nullable=True),
        sa.Column("resource_id", sa.String(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
    )
    op.create_index("ix_audit_logs_effective_at_id", "audit_logs", ["effective_at", "id"], unique=False)
    for column in ("project_id", "type", "actor_id", "actor_email", "resource_id"):
        op.create_index(f"ix_audit_logs_{column}_effective_at_id", "audit_logs", [column, "effective_at", "id"])
    op.create_table(
        "invites",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("projects", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invites")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invites_token_hash")),
    )
    op.create_index("ix_invites_created_at_id", "invites", ["created_at", "id"], unique=False)
    op.create_table(
        "ledger",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("batch", sa.Boolean(), nullable=False),
        sa.Column("priced", sa.Boolean(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("device_ms", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("input_nano", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_nano", sa.BigInteger(), nullable=False),
        sa.Column("output_nano", sa.BigInteger(), nullable=False),
        sa.Column("request_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_created_at", "ledger", ["created_at"], unique=False)
    op.create_table(
        "prices",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("input_nano", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_nano", sa.BigInteger(), nullable=True),
        sa.Column("output_nano", sa.BigInteger(), nullable=False),
        sa.Column("request_nano", sa.BigInteger(), nullable=False),
        sa.Column("training_nano", sa.BigInteger(), nullable=True),
        sa.Column("training_hour_nano", sa.BigInteger(), nullable=True),
        sa.Column("max_output_tokens", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prices")),
        sa.UniqueConstraint("model", "effective_at", name=op.f("uq_prices_model_effective_at")),
    )
    op.create_table(
        "usage_hours",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("batch", sa.Boolean(), nullable=False),
        sa.Column("priced", sa.Boolean(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("device_ms", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("input_nano", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_nano", sa.BigInteger(), nullable=False),
        sa.Column("output_nano", sa.BigInteger(), nullable=False),
        sa.Column("request_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "hour",
            "project_id",
            "api_key_id",
            "user_id",
            "model",
            "endpoint",
            "kind",
            "batch",
            "priced",
            name=op.f("pk_usage_hours"),
        ),
    )
    op.create_table(
        "usage_days",
        sa.Column("day", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("batch", sa.Boolean(), nullable=False),
        sa.Column("priced", sa.Boolean(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("device_ms", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("input_nano", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_nano", sa.BigInteger(), nullable=False),
        sa.Column("output_nano", sa.BigInteger(), nullable=False),
        sa.Column("request_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "project_id",
            "api_key_id",
            "user_id",
            "model",
            "endpoint",
            "kind",
            "batch",
            "priced",
            name=op.f("pk_usage_days"),
        ),
    )
    op.create_table(
        "project_hours",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("batch", sa.Boolean(), nullable=False),
        sa.Column("priced", sa.Boolean(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("device_ms", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("input_nano", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_nano", sa.BigInteger(), nullable=False),
        sa.Column("output_nano", sa.BigInteger(), nullable=False),
        sa.Column("request_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "hour", "project_id", "model", "endpoint", "kind", "batch", "priced", name=op.f("pk_project_hours")
        ),
    )
    op.create_table(
        "project_days",
        sa.Column("day", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("batch", sa.Boolean(), nullable=False),
        sa.Column("priced", sa.Boolean(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("device_ms", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("input_nano", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_nano", sa.BigInteger(), nullable=False),
        sa.Column("output_nano", sa.BigInteger(), nullable=False),
        sa.Column("request_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day", "project_id", "model", "endpoint", "kind", "batch", "priced", name=op.f("pk_project_days")
        ),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("oidc_issuer", sa.String(), nullable=True),
        sa.Column("oidc_subject", sa.String(), nullable=True),
        sa.Column("totp_secret", sa.LargeBinary(), nullable=True),
        sa.Column("totp_confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("totp_last_step", sa.BigInteger(), nullable=True),
        sa.Column("recovery_codes", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("oidc_issuer", "oidc_subject", name=op.f("uq_users_oidc_issuer_oidc_subject")),
    )
    op.create_index("ix_users_added_at_id", "users", ["added_at", "id"], unique=False)
    op.create_index("ix_users_email", "users", ["email"], unique=True, postgresql_where=sa.text("deleted_at IS NULL"))
    op.create_table(
        "sign_in_failures",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_in_failures")),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("secret_hint", sa.String(), nullable=False),
        sa.Column("previous_secret", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_created_at_id", "webhooks", ["created_at", "id"], unique=False)
    op.create_table(
        "project_users",
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_users_project_id_projects")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_project_users_user_id_users")),
        sa.PrimaryKeyConstraint("project_id", "user_id", name=op.f("pk_project_users")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ip_address", sa.String(), nullable=False),
        sa.Column("user_agent", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("webhook_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_status", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_webhook_deliveries_webhook_id_webhooks")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["webhook_id", "next_at"],
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_index(
        "ix_webhook_deliveries_webhook_id_created_at", "webhook_deliveries", ["webhook_id", "created_at"], unique=False
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=True),
        sa.Column("api_key_id", sa.String(), nullable=True),
        sa.Column("period", sa.String(), nullable=False),
        sa.Column("limit_nano", sa.BigInteger(), nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("thresholds", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("notification", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "scope = 'organization' AND project_id IS NULL AND api_key_id IS NULL"
            " OR scope = 'project' AND project_id IS NOT NULL AND api_key_id IS NULL"
            " OR scope = 'api_key' AND project_id IS NOT NULL AND api_key_id IS NOT NULL",
            name=op.f("ck_budgets_scope"),
        ),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_budgets_api_key_id_api_keys")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_budgets_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
    )
    op.create_index("ix_budgets_created_at_id", "budgets", ["created_at", "id"], unique=False)
    op.create_table(
        "rate_limits",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.String(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("requests_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("tokens_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("requests_per_day", sa.BigInteger(), nullable=True),
        sa.Column("tokens_per_day", sa.BigInteger(), nullable=True),
        sa.Column("concurrent_requests", sa.BigInteger(), nullable=True),
        sa.Column("images_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("audio_megabytes_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("batch_input_tokens_per_day", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_rate_limits_api_key_id_api_keys")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_rate_limits_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_limits")),
        sa.UniqueConstraint(
            "project_id",
            "api_key_id",
            "model",
            name=op.f("uq_rate_limits_project_id_api_key_id_model"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "budget_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("budget_id", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("threshold", sa.BigInteger(), nullable=False),
        sa.Column("limit_nano", sa.BigInteger(), nullable=False),
        sa.Column("spent_nano", sa.BigInteger(), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name=op.f("fk_budget_events_budget_id_budgets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_events")),
        sa.UniqueConstraint(
            "budget_id",
            "starts_at",
            "threshold",
            "limit_nano",
            name=op.f("uq_budget_events_budget_id_starts_at_threshold_limit_nano"),
        ),
    )
    op.create_index("ix_budget_events_created_at_id", "budget_events", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_budget_events_unannounced",
        "budget_events",
        ["created_at"],
        postgresql_where=sa.text("announced_at IS NULL"),
    )
    op.create_table(
        "budget_leases",
        sa.Column("budget_id", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("granted_nano", sa.BigInteger(), nullable=False),
        sa.Column("spent_nano", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name=op.f("fk_budget_leases_budget_id_budgets")),
        sa.PrimaryKeyConstraint("budget_id", "starts_at", "holder", name=op.f("pk_budget_leases")),
    )
    op.create_index("ix_budget_leases_holder", "budget_leases", ["holder"], unique=False)
    op.create_table(
        "budget_windows",
        sa.Column("budget_id", sa.String(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("spent_nano", sa.BigInteger(), nullable=False),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["budget_id"], ["budgets.id"], name=op.f("fk_budget_windows_budget_id_budgets")),
        sa.PrimaryKeyConstraint("budget_id", "starts_at", name=op.f("pk_budget_windows")),
    )
    _extend_tables()
    op.execute(LEDGER_OF_THE_LOG)
    op.execute(HOURS_OF_THE_LEDGER)
    op.execute(DAYS_OF_THE_HOURS)
    op.execute(PROJECTS_OF_THE_KEYS.format(unit="hour"))
    op.execute(PROJECTS_OF_THE_KEYS.format(unit="day"))


def _extend_tables() -> None:
    op.add_column("api_keys", sa.Column("user_id", sa.String(), nullable=True))
    op.add_column("api_keys", sa.Column("role", sa.String(), server_default="owner", nullable=False))
    op.add_column(
        "api_keys", sa.Column("tags", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False)
    )
    op.add_column(
        "api_keys",
        sa.Column("allowed_models", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    )
    op.add_column(
        "api_keys", sa.Column("scopes", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True)
    )
    op.add_column("api_keys", sa.Column("logging", sa.String(), server_default="full", nullable=False))
    op.add_column("api_keys", sa.Column("tier", sa.String(), nullable=True))
    op.add_column("api_keys", sa.Column("old_hash", sa.LargeBinary(), nullable=True))
    op.add_column("api_keys", sa.Column("old_hash_expires_at", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(op.f("fk_api_keys_user_id_users"), "api_keys", "users", ["user_id"], ["id"])
    op.drop_constraint(op.f("ck_api_keys_admin_or_project"), "api_keys", type_="check")
    op.create_check_constraint(
        op.f("ck_api_keys_admin_or_project"), "api_keys", "project_id IS NOT NULL OR service_account_id IS NULL"
    )
    op.create_check_constraint(
        op.f("ck_api_keys_one_owner"),
        "api_keys",
        "project_id IS NULL OR (service_account_id IS NULL) <> (user_id IS NULL)",
    )
    _extend_jobs()
    op.add_column("exchanges", sa.Column("logging", sa.String(), server_default="full", nullable=False))
    op.add_column("projects", sa.Column("tier", sa.String(), nullable=True))
    op.add_column(
        "projects",
        sa.Column("model_permissions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    )


def _extend_jobs() -> None:
    """The ends of jobs before there were webhooks are old news."""
    op.add_column("fine_tuning_jobs", sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE fine_tuning_jobs SET announced_at = finished_at WHERE finished_at IS NOT NULL")
    op.create_index(
        "ix_fine_tuning_jobs_unannounced",
        "fine_tuning_jobs",
        ["finished_at"],
        postgresql_where=sa.text("finished_at IS NOT NULL AND announced_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_fine_tuning_jobs_unannounced", table_name="fine_tuning_jobs")
    op.drop_column("fine_tuning_jobs", "announced_at")
    op.drop_constraint(op.f("ck_api_keys_one_owner"), "api_keys", type_="check")
    op.drop_constraint(op.f("ck_api_keys_admin_or_project"), "api_keys", type_="check")
    op.create_check_constraint(
        op.f("ck_api_keys_admin_or_project"), "api_keys", "(project_id IS NULL) = (service_account_id IS NULL)"
    )
    op.drop_column("projects", "model_permissions")
    op.drop_column("projects", "tier")
    op.drop_column("exchanges", "logging")
    op.drop_constraint(op.f("fk_api_keys_user_id_users"), "api_keys", type_="foreignkey")
    op.drop_column("api_keys", "old_hash_expires_at")
    op.drop_column("api_keys", "old_hash")
    op.drop_column("api_keys", "tier")
    op.drop_column("api_keys", "logging")
    op.drop_column("api_keys", "scopes")
    op.drop_column("api_keys", "allowed_models")
    op.drop_column("api_keys", "tags")
    op.drop_column("api_keys", "role")
    op.drop_column("api_keys", "user_id")
    _drop_tables()


def _drop_tables() -> None:
    op.drop_table("budget_windows")
    op.drop_index("ix_budget_leases_holder", table_name="budget_leases")
    op.drop_table("budget_leases")
    op.drop_index("ix_budget_events_unannounced", table_name="budget_events")
    op.drop_index("ix_budget_events_created_at_id", table_name="budget_events")
    op.drop_table("budget_events")
    op.drop_table("rate_limits")
    op.drop_index("ix_budgets_created_at_id", table_name="budgets")
    op.drop_table("budgets")
    op.drop_index("ix_webhook_deliveries_webhook_id_created_at", table_name="webhook_deliveries")
    op.drop_index("ix_webhook_deliveries_due", table_name="webhook_deliveries")
    op.drop_table("webhook_deliveries")
    op.drop_index("ix_sessions_user_id", table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("project_users")
    op.drop_index("ix_webhooks_created_at_id", table_name="webhooks")
    op.drop_table("webhooks")
    op.drop_table("sign_in_failures")
    op.drop_index("ix_users_email", table_name="users", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_users_added_at_id", table_name="users")
    op.drop_table("users")
    op.drop_table("project_days")
    op.drop_table("project_hours")
    op.drop_table("usage_days")
    op.drop_table("usage_hours")
    op.drop_table("prices")
    op.drop_index("ix_ledger_created_at", table_name="ledger")
    op.drop_table("ledger")
    op.drop_index("ix_invites_created_at_id", table_name="invites")
    op.drop_table("invites")
    for column in ("project_id", "type", "actor_id", "actor_email", "resource_id"):
        op.drop_index(f"ix_audit_logs_{column}_effective_at_id", table_name="audit_logs")
    op.drop_index("ix_audit_logs_effective_at_id", table_name="audit_logs")
    op.drop_table("audit_logs")
