"""SQL of checkpoint permissions: which other projects may call a model."""

from collections.abc import Sequence

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import CheckpointPermissionRow
from gateway.errors import NotFound
from gateway.fine_tuning.models import MIRROR
from gateway.kit.clock import now
from gateway.kit.ids import new_id

Permission = CheckpointPermissionRow


def of_model(model_id: str) -> Select[Permission]:
    return select(Permission).where(Permission.model_id == model_id)


async def grant(session: AsyncSession, model_id: str, project_ids: Sequence[str]) -> list[Permission]:
    """One permission for each project, in their order; one that exists already stays as it is.

    The caller has checked that the model and the projects exist.
    """
    wanted = list(dict.fromkeys(project_ids))
    created = now()
    rows = [{"id": new_id("cp_"), "created_at": created, "model_id": model_id, "project_id": each} for each in wanted]
    await session.execute(insert(Permission).values(rows).on_conflict_do_nothing())
    await touch(session, MIRROR)
    query = of_model(model_id).where(Permission.project_id.in_(wanted))
    found = {row.project_id: row for row in await session.scalars(query)}
    return [found[project_id] for project_id in wanted]


async def revoke(session: AsyncSession, model_id: str, permission_id: str) -> None:
    """Raises NotFound."""
    query = delete(Permission).where(Permission.id == permission_id, Permission.model_id == model_id)
    if await session.scalar(query.returning(Permission.id)) is None:
        raise NotFound(f"No permission with id '{permission_id}' for this checkpoint.", param="permission_id")
    await touch(session, MIRROR)
