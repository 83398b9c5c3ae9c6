"""/v1/organization/alerts, and those of one project (an extension): computed when they are asked for, but for what only a worker
or another gateway process can know, which is read where they note it (gateway/open_alerts.py)."""

from collections.abc import Sequence

from litestar import get
from litestar.params import FromPath

from gateway import alert_conditions, open_alerts
from gateway.alert_conditions import MOST
from gateway.projects import repository as projects
from gateway.protocol.alerts import Alert, AlertList
from gateway.routes.callers import Admin, Sv
from gateway.services import alerts_here

SEVERITIES = ("critical", "warning")


@get("/v1/organization/alerts")
async def organization_alerts(sv: Sv, admin: Admin) -> AlertList:
    """Of every project, and of what all of them live on."""
    async with sv.database.session() as session:
        found = await alert_conditions.in_database(session, sv.settings)
        noted = await open_alerts.noted(session, [], MOST)
    return _list([*found, *alerts_here(sv), *noted])


@get("/v1/organization/projects/{project_id:str}/alerts")
async def project_alerts(sv: Sv, admin: Admin, project_id: FromPath[str]) -> AlertList:
    """Raises NotFound."""
    async with sv.database.session() as session:
        await projects.project(session, project_id)
        found = await alert_conditions.of_projects(session, sv.settings, [project_id])
        return _list([*found, *await open_alerts.noted(session, [project_id], MOST)])


def _list(found: Sequence[Alert]) -> AlertList:
    """Each once, as it was found first."""
    once = list({each.id: each for each in reversed(found)}.values())[::-1]
    return AlertList(data=sorted(once, key=lambda each: SEVERITIES.index(each.severity)))
