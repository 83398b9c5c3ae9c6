"""eval comparisons"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLE = "eval_comparisons"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("base_run_id", sa.String(), nullable=False),
        sa.Column("method", sa.BigInteger(), nullable=False),
        sa.Column("comparison", JSONB(), nullable=False),
        sa.Column("flips", JSONB(), nullable=False),
        sa.Column("elsewhere", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["eval_runs.id"], name=op.f("fk_eval_comparisons_run_id_eval_runs")),
        sa.ForeignKeyConstraint(
            ["base_run_id"], ["eval_runs.id"], name=op.f("fk_eval_comparisons_base_run_id_eval_runs")
        ),
        sa.PrimaryKeyConstraint("run_id", "base_run_id", name=op.f("pk_eval_comparisons")),
    )
    op.create_index(op.f("ix_eval_comparisons_base_run_id"), TABLE, ["base_run_id"])


def downgrade() -> None:
    op.drop_table(TABLE)
