"""What the gateway keeps in memory has a version here, raised in the transaction that changes it."""

from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ChangeRow(Base):
    """One row a kind of mirrored rows ("api_keys", "models"); see gateway/db/mirror.py."""

    __tablename__ = "changes"

    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
