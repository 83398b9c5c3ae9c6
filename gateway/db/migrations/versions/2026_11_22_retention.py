"""retention"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | Sequence[str] | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "project_retention",
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("body_days", sa.BigInteger(), nullable=True),
        sa.Column("exchange_days", sa.BigInteger(), nullable=True),
        sa.Column("training_log_days", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_retention_project_id_projects")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_retention")),
    )
    op.create_table(
        "retention_marks",
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("project_id", "kind", name=op.f("pk_retention_marks")),
    )


def downgrade() -> None:
    op.drop_table("retention_marks")
    op.drop_table("project_retention")
