"""The reply cache (gateway/reply_cache/): replies themselves are in memory and in Redis."""

from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ReplyGenerationRow(Base):
    """How often what is kept of a project's replies was forgotten. No foreign key: it outlives nothing, and is one of few rows."""

    __tablename__ = "reply_generations"

    project_id: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int]
