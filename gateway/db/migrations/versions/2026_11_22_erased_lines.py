"""erased lines"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | Sequence[str] | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "ix_dataset_items_to_blank"


def upgrade() -> None:
    left = sa.text("erased_at IS NOT NULL AND sha256 <> ''")
    op.create_index(NAME, "dataset_items", ["version_id"], unique=False, postgresql_where=left)


def downgrade() -> None:
    op.drop_index(NAME, table_name="dataset_items")
