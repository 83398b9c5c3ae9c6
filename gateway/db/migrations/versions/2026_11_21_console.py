"""console"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("models", sa.Column("deprecated_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("models", sa.Column("description", sa.String(), server_default="", nullable=False))
    op.create_table(
        "exchange_texts",
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("words", postgresql.TSVECTOR(), nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", name=op.f("pk_exchange_texts")),
    )
    op.create_index("ix_exchange_texts_words", "exchange_texts", ["words"], unique=False, postgresql_using="gin")
    op.create_table(
        "unread_exchanges",
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("exchange_id", name=op.f("pk_unread_exchanges")),
    )
    # What is in the log already becomes searchable, too.
    op.execute("INSERT INTO unread_exchanges SELECT id FROM exchanges WHERE logging = 'full'")
    op.create_table(
        "review_queues",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("criteria", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("overlap", sa.BigInteger(), nullable=False),
        sa.Column("source", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("finished", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_review_queues_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_queues")),
    )
    op.create_index("ix_review_queues_project_id_id", "review_queues", ["project_id", "id"], unique=False)
    op.create_table(
        "saved_views",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("page", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("query", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_saved_views_project_id_projects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("project_id", "page", "name", name=op.f("uq_saved_views_project_id_page_name")),
    )
    op.create_table(
        "review_items",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("queue_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("choice_index", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("other_exchange_id", sa.String(), nullable=True),
        sa.Column("other_choice_index", sa.BigInteger(), nullable=True),
        sa.Column("locked_by", sa.String(), nullable=True),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["queue_id"], ["review_queues.id"], name=op.f("fk_review_items_queue_id_review_queues"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_items")),
        sa.UniqueConstraint("queue_id", "position", name=op.f("uq_review_items_queue_id_position")),
    )
    op.create_index("ix_review_items_exchange_id", "review_items", ["exchange_id"], unique=False)
    op.create_index(
        "ix_review_items_lock",
        "review_items",
        ["queue_id", "locked_by"],
        unique=False,
        postgresql_where=sa.text("locked_by IS NOT NULL"),
    )
    op.create_index(
        "uq_review_items_answer",
        "review_items",
        [
            "queue_id",
            "exchange_id",
            "choice_index",
            sa.literal_column("coalesce(other_exchange_id, '')"),
            sa.literal_column("coalesce(other_choice_index, -1)"),
        ],
        unique=True,
    )
    op.create_table(
        "console_keys",
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name=op.f("fk_console_keys_api_key_id_api_keys")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_console_keys_project_id_projects")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_console_keys_user_id_users")),
        sa.PrimaryKeyConstraint("project_id", "user_id", name=op.f("pk_console_keys")),
    )
    op.create_table(
        "review_decisions",
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("queue_id", sa.String(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("judgment_ids", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["review_items.id"], name=op.f("fk_review_decisions_item_id_review_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", "user_id", name=op.f("pk_review_decisions")),
    )
    op.create_index(
        "ix_review_decisions_queue_id_user_id_decided_at",
        "review_decisions",
        ["queue_id", "user_id", "decided_at"],
        unique=False,
    )
    op.create_index(
        "ix_review_decisions_queue_id_decided_at", "review_decisions", ["queue_id", "decided_at"], unique=False
    )
    for unit in ("hour", "day"):
        op.create_table(f"traffic_{unit}s", *_cell(unit), *_counts(), _cell_key(f"traffic_{unit}s", unit))
        op.create_table(
            f"answer_times_{unit}s",
            *_cell(unit),
            sa.Column("measure", sa.String(), nullable=False),
            sa.Column("buckets", postgresql.ARRAY(sa.BigInteger()), nullable=False),
            sa.Column("counts", postgresql.ARRAY(sa.BigInteger()), nullable=False),
            _cell_key(f"answer_times_{unit}s", unit, "measure"),
        )


def _cell(unit: str) -> list[sa.Column[Any]]:
    return [
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column(unit, sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
    ]


def _counts() -> list[sa.Column[Any]]:
    names = ("requests", "client_errors", "server_errors", "upstream_errors", "client_left", "fallbacks")
    used = ("input_tokens", "cached_input_tokens", "output_tokens", "cost_nano", "unpriced")
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in (*names, *used)]


def _cell_key(table: str, unit: str, *more: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("project_id", "dimension", unit, "value", *more, name=op.f(f"pk_{table}"))


def downgrade() -> None:
    for unit in ("hour", "day"):
        op.drop_table(f"answer_times_{unit}s")
        op.drop_table(f"traffic_{unit}s")
    op.drop_index("ix_review_decisions_queue_id_decided_at", table_name="review_decisions")
    op.drop_index("ix_review_decisions_queue_id_user_id_decided_at", table_name="review_decisions")
    op.drop_table("review_decisions")
    op.drop_table("console_keys")
    op.drop_index("ix_review_items_lock", table_name="review_items")
    op.drop_index("uq_review_items_answer", table_name="review_items")
    op.drop_index("ix_review_items_exchange_id", table_name="review_items")
    op.drop_table("review_items")
    op.drop_table("saved_views")
    op.drop_index("ix_review_queues_project_id_id", table_name="review_queues")
    op.drop_table("review_queues")
    op.drop_column("models", "description")
    op.drop_column("models", "deprecated_at")
    op.drop_table("unread_exchanges")
    op.drop_index("ix_exchange_texts_words", table_name="exchange_texts", postgresql_using="gin")
    op.drop_table("exchange_texts")
