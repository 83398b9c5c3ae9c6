"""/v1/organization/audit_logs: every administrative change, who made it and from where."""

from datetime import datetime

from litestar import get
from litestar.params import QueryParams

from gateway.audit import entries
from gateway.audit.entries import FILTERS, Wanted
from gateway.db.tables import AuditLogRow
from gateway.errors import InvalidRequest
from gateway.kit.clock import from_unix, unix
from gateway.protocol.audit_logs import AuditProject, Entry, shown
from gateway.protocol.lists import CursorList
from gateway.protocol.queries import LAST_SECOND, array, cursor, flag, integer, mapping
from gateway.routes.callers import Admin, Sv

MOST_VALUES = 100
"""Of one filter."""
BOUNDS = ("gt", "gte", "lt", "lte")


@get("/v1/organization/audit_logs")
async def list_audit_logs(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """Newest first. `tenant_only` leaves nothing: there is no tenant above the organisation."""
    wanted, place = _wanted(query), cursor(query)
    if flag(query, "tenant_only"):
        return CursorList(data=[])
    async with sv.database.session() as session:
        page = await entries.page(session, wanted, place)
        names = await entries.project_names(session, page.rows)
    data = [shown(_entry(row, names)) for row in page.rows]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return CursorList(data=data, first_id=first, last_id=last, has_more=page.has_more)


def _wanted(query: QueryParams) -> Wanted:
    """Raises InvalidRequest."""
    among = {name: array(query, name) for name in FILTERS}
    for name, values in among.items():
        if len(values) > MOST_VALUES:
            raise InvalidRequest(f"Invalid '{name}': at most {MOST_VALUES} values are taken.", param=name)
    since, before = _bounds(query)
    return Wanted(among, since, before)


def _bounds(query: QueryParams) -> tuple[datetime | None, datetime | None]:
    """From, and until before: entries are shown in whole seconds, so `gt` means from the next one on."""
    asked = mapping(query, "effective_at")
    if unknown := next((each for each in asked if each not in BOUNDS), None):
        param = f"effective_at[{unknown[:50]}]"
        raise InvalidRequest(f"Invalid '{param}': it is one of {', '.join(BOUNDS)}.", param=param)
    seconds = {
        name: integer(query, f"effective_at[{name}]", default=0, lowest=0, highest=LAST_SECOND - 1) for name in asked
    }
    lowest = [seconds[name] + (name == "gt") for name in ("gt", "gte") if name in seconds]
    highest = [seconds[name] + (name == "lte") for name in ("lt", "lte") if name in seconds]
    return (from_unix(max(lowest)) if lowest else None, from_unix(min(highest)) if highest else None)


def _entry(row: AuditLogRow, names: dict[str, str]) -> Entry:
    project_id = row.project_id
    return Entry(
        id=row.id,
        type=row.type,
        effective_at=unix(row.effective_at),
        project=AuditProject(id=project_id, name=names.get(project_id, "")) if project_id else None,
        actor=row.actor,
        resource_id=row.resource_id,
        detail=row.detail,
    )
