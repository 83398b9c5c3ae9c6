"""What the reply cache has of a project is forgotten everywhere: its names hold the project's generation, which is raised here
in the transaction that erases."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.mirror import REPLIES
from gateway.db.tables import ReplyGenerationRow


async def forget_replies(session: AsyncSession, project_id: str) -> None:
    """In a transaction that ends soon after: others that erase wait for it."""
    raised = insert(ReplyGenerationRow).values(project_id=project_id, generation=1)
    again = {"generation": ReplyGenerationRow.generation + 1}
    await session.execute(raised.on_conflict_do_update(index_elements=["project_id"], set_=again))
    await touch(session, REPLIES)
