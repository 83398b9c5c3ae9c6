"""DELETE /v1/exchanges/{id} and /v1/exchanges?user=... (extensions): what was said is erased, and stays so.

The same for administrators below their project's URL, and in the audit log.
"""

import time
from dataclasses import dataclass

from litestar import delete
from litestar.params import FromPath, QueryParams

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.db.tables import ExchangeRow
from gateway.errors import MissingParameter
from gateway.exchanges import deletions, erasure
from gateway.kit.keyed_hash import end_user_hash
from gateway.projects import repository as projects
from gateway.protocol.exchanges import ExchangesDeleted
from gateway.protocol.lists import Deleted
from gateway.protocol.queries import text
from gateway.routes.callers import Admin, Caller, Sv
from gateway.routes.new_exchanges import began_at, exchanges_named, not_in_the_log
from gateway.services import Services

OF_PROJECT = "/v1/organization/projects/{project_id:str}/exchanges"
ON_ITS_WAY_SECONDS = 24 * 3600
"""For so long a call may lie in the spool of a process that died, or that cannot reach the database."""


@dataclass(frozen=True)
class Eraser:
    """Who erases, in which project."""

    project_id: str
    by: str
    admin: Administrator | None = None


@delete("/v1/exchanges/{exchange_id:str}", status_code=200)
async def delete_exchange(sv: Sv, caller: Caller, exchange_id: FromPath[str]) -> Deleted:
    """By its own id, or by that of its reply. One that is not in the log yet is erased when it comes there."""
    return await _delete(sv, Eraser(caller.project_id, caller.id), exchange_id)


@delete("/v1/exchanges", status_code=200)
async def delete_exchanges_of_user(sv: Sv, caller: Caller, query: QueryParams) -> ExchangesDeleted:
    """Everything of one end user (`user` or `safety_identifier` of the calls) up to now, and what they said of answers."""
    return await _delete_of_user(sv, Eraser(caller.project_id, caller.id), text(query, "user"))


@delete(f"{OF_PROJECT}/{{exchange_id:str}}", status_code=200)
async def delete_exchange_of_project(
    sv: Sv, admin: Admin, project_id: FromPath[str], exchange_id: FromPath[str]
) -> Deleted:
    return await _delete(sv, Eraser(project_id, admin.id, admin), exchange_id)


@delete(OF_PROJECT, status_code=200)
async def delete_exchanges_of_projects_user(
    sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams
) -> ExchangesDeleted:
    return await _delete_of_user(sv, Eraser(project_id, admin.id, admin), text(query, "user"))


async def _delete(sv: Services, eraser: Eraser, name: str) -> Deleted:
    """Raises NotFound: nor is it on its way to the log."""
    found = await exchanges_named(sv, eraser.project_id, {name})
    id = found.get(name, name)
    if name not in found:
        await _expect(sv, name)
    await _announce(sv, eraser, id, id)
    async with sv.database.session() as session:
        erased = await erasure.erase(session, eraser.project_id, [id], eraser.by)
    await erasure.erase_late(sv.database, eraser.project_id, erased.others, eraser.by)
    return Deleted(id=id, object="exchange.deleted")


async def _expect(sv: Services, exchange_id: str) -> None:
    """Let pass what a call was given as its id lately, and nobody has in the log. Raises NotFound."""
    began = began_at(exchange_id)
    if began is None or not -60 < time.time() - began < ON_ITS_WAY_SECONDS:
        raise not_in_the_log(exchange_id, "exchange_id")
    async with sv.database.session() as session:
        if await session.get(ExchangeRow, exchange_id) is not None:  # another project's, or one that is not shown
            raise not_in_the_log(exchange_id, "exchange_id")


async def _delete_of_user(sv: Services, eraser: Eraser, user: str | None) -> ExchangesDeleted:
    """Page by page, each in a transaction of its own: whoever is interrupted calls again."""
    if not user:
        raise MissingParameter("user")
    hashed = end_user_hash(user, eraser.project_id, sv.settings.secret_key.reveal())
    await _announce(sv, eraser, deletions.USER + hashed, hashed)
    count, page = 0, [""]
    while True:
        async with sv.database.session() as session:
            page = await erasure.page_of_user(session, eraser.project_id, hashed, page[-1])
            if not page:
                break
            erased = await erasure.erase(session, eraser.project_id, page, eraser.by)
        count += erased.count
        await erasure.erase_late(sv.database, eraser.project_id, erased.others, eraser.by)
    async with sv.database.session() as session:
        await erasure.erase_words_of(session, eraser.project_id, hashed)
    return ExchangesDeleted(exchanges=count)


async def _announce(sv: Services, eraser: Eraser, key: str, shown: str) -> None:
    """Raises NotFound: there is no such project."""
    async with sv.database.session() as session:
        await projects.project(session, eraser.project_id)
        await erasure.announce(session, eraser.project_id, [key], eraser.by)
        if eraser.admin is not None:
            owner = audit.owner_of(sv.settings.organization, eraser.project_id)
            audit.write_change(session, eraser.admin.actor, owner, shown, {"exchanges_deleted": shown})
