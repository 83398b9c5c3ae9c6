"""budget holders"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KNOWN = """
INSERT INTO budget_holders (id, host, created_at, since, seen_at)
SELECT DISTINCT holder, '', now(), now(), now() FROM budget_leases WHERE holder <> '' AND holder NOT LIKE 'ftjob-%'
"""
"""Processes that hold something now are taken to run."""


def upgrade() -> None:
    op.create_table(
        "budget_holders",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_holders")),
    )
    op.execute(KNOWN)


def downgrade() -> None:
    op.drop_table("budget_holders")
