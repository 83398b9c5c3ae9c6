"""exchange blobs"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | Sequence[str] | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "exchange_blobs",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("exchange_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("doomed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_exchange_blobs")),
    )
    op.create_index("ix_exchange_blobs_exchange_id", "exchange_blobs", ["exchange_id"], unique=False)
    op.create_index(
        "ix_exchange_blobs_doomed_at",
        "exchange_blobs",
        ["doomed_at"],
        unique=False,
        postgresql_where=sa.text("doomed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_exchange_blobs_unsettled",
        "exchange_blobs",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("NOT settled"),
    )


def downgrade() -> None:
    op.drop_table("exchange_blobs")
