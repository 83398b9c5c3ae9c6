"""/v1/organization/projects/{project}/retention (an extension): how long what belongs to a project is kept."""

import msgspec
from litestar import get, post
from litestar.params import FromPath, RawBody
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.audit.log import write
from gateway.kit.clock import unix
from gateway.projects import repository as projects
from gateway.protocol.decode import decode
from gateway.protocol.retention import Retention, RetentionUpdate
from gateway.retention import repository
from gateway.retention.periods import NAMES, in_force
from gateway.retention.repository import BODIES, EVERYBODY, EXCHANGES, Kind
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

URL = "/v1/organization/projects/{project_id:str}/retention"

decode_periods = msgspec.json.Decoder(RetentionUpdate)


@get(URL)
async def retrieve_retention(sv: Sv, admin: Admin, project_id: FromPath[str]) -> Retention:
    async with sv.database.session() as session:
        await projects.project(session, project_id)
        return await _shown(sv, session, project_id)


@post(URL, status_code=200)
async def update_retention(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> Retention:
    """Also of an archived project: what it has has to go some day. What is older than that goes within the hour, for good."""
    wanted = decode(decode_periods, body)
    changes = {name: days for name in NAMES if (days := getattr(wanted, name)) is not UNSET}
    async with sv.database.session() as session:
        row = await projects.project(session, project_id)
        await repository.change_periods(session, project_id, changes)
        detail = {"changes_requested": {"retention": changes}}
        write(session, admin.actor, "project.updated", row.id, project_id=row.id, detail=detail)
        return await _shown(sv, session, project_id)


async def _shown(sv: Services, session: AsyncSession, project_id: str) -> Retention:
    own = await repository.own_periods(session, project_id)
    return Retention(
        project_id=project_id,
        body_days=own.body_days if own else None,
        exchange_days=own.exchange_days if own else None,
        training_log_days=own.training_log_days if own else None,
        in_force=in_force(own, sv.settings.retention),
        bodies_before=await _before(session, project_id, BODIES),
        exchanges_before=await _before(session, project_id, EXCHANGES),
    )


async def _before(session: AsyncSession, project_id: str, kind: Kind) -> int | None:
    marks = await repository.marks(session, kind)
    found = [marks[id].until for id in (project_id, EVERYBODY) if id in marks]
    return unix(max(found)) if found else None
