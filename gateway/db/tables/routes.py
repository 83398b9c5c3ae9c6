"""Routes and every revision of each."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class RouteRow(Base):
    """A name that clients call, and the revision that is in force."""

    __tablename__ = "routes"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    """None: every project may call it."""
    revision: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_routes_name_project_id",
            "name",
            text("coalesce(project_id, '')"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )


class RouteRevisionRow(Base):
    """What a route did from one moment to the next; never changed."""

    __tablename__ = "route_revisions"

    route_id: Mapped[str] = mapped_column(ForeignKey("routes.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    spec: Mapped[dict[str, Any]]
    """gateway/protocol/routes.py: RouteSpec."""
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    """The api key that made it."""
    restores: Mapped[int | None]
    """A rollback: the number of the revision that it repeats."""
