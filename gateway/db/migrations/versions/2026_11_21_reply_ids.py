"""reply ids"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | Sequence[str] | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME, COLUMNS = "ix_exchanges_project_id_reply_id", ["project_id", "reply_id"]


def upgrade() -> None:
    op.drop_index(NAME, table_name="exchanges")
    op.create_index(NAME, "exchanges", COLUMNS, postgresql_where=sa.text("reply_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index(NAME, table_name="exchanges")
    op.create_index(NAME, "exchanges", COLUMNS)
