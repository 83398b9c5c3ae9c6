"""How whoever changes rows that processes know by heart (gateway/db/mirror.py) tells them."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ChangeRow


async def touch(session: AsyncSession, name: str) -> None:
    """Tell every process, once this transaction commits, that the rows behind `name` changed."""
    raised = insert(ChangeRow).values(name=name, version=1)
    await session.execute(
        raised.on_conflict_do_update(index_elements=[ChangeRow.name], set_={"version": ChangeRow.version + 1})
    )
