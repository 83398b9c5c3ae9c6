"""/v1/organization/audit_logs: who changed what, and from where."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from openai.types.admin.organization import AuditLogListResponse
from sqlalchemy import text

from gateway.audit import entries
from gateway.audit import log as audit
from gateway.audit.entries import Wanted
from gateway.db.database import Database
from gateway.db.tables import AuditLogRow
from gateway.kit.clock import from_unix
from gateway.protocol.audit_logs import key_actor
from gateway.protocol.lists import Cursor
from tests.contract import conforms
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

URL = "/v1/organization/audit_logs"
NOON = from_unix(1_800_000_000)
FIELDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("project_ids", {"project_id": "proj_1"}),
    ("event_types", {"type": "invite.sent"}),
    ("actor_ids", {"actor_id": "user-1"}),
    ("actor_emails", {"actor_email": "a@b.c"}),
    ("resource_ids", {"resource_id": "thing"}),
)


def row(number: int, **fields: Any) -> AuditLogRow:
    default: dict[str, Any] = {
        "id": f"audit_log-{number}", "effective_at": NOON + timedelta(seconds=number), "type": "organization.updated",
        "project_id": None, "actor": {"type": "api_key", "api_key": {}}, "actor_id": "key_0", "actor_email": None,
        "resource_id": "tuneway", "detail": {},
    }  # fmt: skip
    return AuditLogRow(**(default | fields))


async def add(database: Database, *rows: AuditLogRow) -> None:
    async with database.session() as session:
        session.add_all(rows)


async def listed(admin: httpx.AsyncClient, **query: Any) -> list[int]:
    page = (await admin.get(URL, params=query)).json()
    return [int(each["id"].removeprefix("audit_log-")) for each in page["data"]]


class TestListAuditLogs:
    async def test_shows_who_what_and_from_where(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any], database: Database
    ) -> None:
        async with database.session() as session:
            await session.execute(text("DELETE FROM audit_logs"))
        project = project_key["project_id"]
        body = {"period": "day", "limit_usd": 1, "project_id": project}
        made = (await admin.post("/v1/budgets", json=body, headers={"user-agent": "curl/9"})).json()
        page = (await admin.get(URL)).json()
        conforms("ListAuditLogsResponse", page)
        [entry] = page["data"]
        assert AuditLogListResponse.model_validate(entry, strict=True)
        assert (entry["type"], entry["project"]) == ("project.updated", {"id": project, "name": "first"})
        assert entry["project.updated"]["id"] == project
        assert entry["project.updated"]["changes_requested"]["budget"]["id"] == made["id"]
        actor = entry["actor"]
        assert (actor["type"], actor["api_key"]["user_agent"]) == ("api_key", "curl/9")
        assert actor["api_key"]["ip_address"]
        assert (page["first_id"], page["last_id"], page["has_more"]) == (entry["id"], entry["id"], False)

    async def test_newest_first_and_both_ways(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, *(row(number) for number in range(5)))
        assert await listed(admin) == [4, 3, 2, 1, 0]
        assert await listed(admin, limit=2, after="audit_log-3") == [2, 1]
        assert await listed(admin, limit=2, before="audit_log-1") == [3, 2]
        assert (await admin.get(URL, params={"limit": 2, "before": "audit_log-1"})).json()["has_more"] is True
        assert await listed(admin, tenant_only="true") == []
        assert await listed(admin, tenant_only="false", limit=1) == [4]

    @pytest.mark.parametrize(("name", "fields"), FIELDS)
    async def test_filters(
        self, admin: httpx.AsyncClient, database: Database, name: str, fields: dict[str, Any]
    ) -> None:
        [(column, value)] = fields.items()
        await add(database, row(1, **fields), row(2, **{column: "other"}), row(3), row(4, **fields))
        assert await listed(admin, **{f"{name}[]": value}) == [4, 1]
        assert await listed(admin, **{name: [value, "other"]}) == [4, 2, 1]
        assert await listed(admin, **{f"{name}[]": "nobody"}) == []

    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [
            ({"gt": 1}, [3, 2]),
            ({"gte": 1}, [3, 2, 1]),
            ({"lt": 2}, [1, 0]),
            ({"lte": 2}, [2, 1, 0]),
            ({"gt": 0, "lte": 2}, [2, 1]),
            ({"gte": 1, "gt": 1, "lt": 3, "lte": 3}, [2]),
        ],
    )
    async def test_bounds_are_whole_seconds(
        self, admin: httpx.AsyncClient, database: Database, bounds: dict[str, int], expected: list[int]
    ) -> None:
        halves = {number: NOON + timedelta(seconds=number + 0.5) for number in range(4)}
        await add(database, *(row(number, effective_at=moment) for number, moment in halves.items()))
        query = {f"effective_at[{name}]": 1_800_000_000 + seconds for name, seconds in bounds.items()}
        assert await listed(admin, **query) == expected

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ({"limit": 101}, "limit"),
            ({"limit": 0}, "limit"),
            ({"after": "audit_log-none"}, "after"),
            ({"before": "audit_log-none"}, "before"),
            ({"effective_at[gt]": "soon"}, "effective_at[gt]"),
            ({"effective_at[after]": "5"}, "effective_at[after]"),
            ({"tenant_only": "yes"}, "tenant_only"),
            ({"actor_ids[]": ["x"] * 101}, "actor_ids"),
        ],
    )
    async def test_names_the_parameter_that_is_wrong(
        self, admin: httpx.AsyncClient, query: dict[str, Any], param: str
    ) -> None:
        assert error_in(await admin.get(URL, params=query), 400)["param"] == param

    async def test_names_archived_projects_too(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any], database: Database
    ) -> None:
        await add(database, row(10**9, project_id=project_key["project_id"]))
        await admin.post(f"/v1/organization/projects/{project_key['project_id']}/archive")
        entry = next(each for each in (await admin.get(URL)).json()["data"] if each["id"] == f"audit_log-{10**9}")
        assert entry["project"]["name"] == "first"


class TestWrite:
    async def test_an_id_in_the_detail_is_shown_and_the_things_id_found(
        self, admin: httpx.AsyncClient, database: Database
    ) -> None:
        actor = key_actor("key_1", user_id="user-1", email="a@b.c", ip_address="::1", user_agent="x")
        async with database.session() as session:
            owner = audit.owner_of("tuneway", "proj_1", "key_2")
            audit.write_change(session, actor, owner, "budget_1", {"budget": {}})
        [entry] = (await admin.get(URL, params={"resource_ids[]": "budget_1"})).json()["data"]
        assert (entry["type"], entry["api_key.updated"]["id"]) == ("api_key.updated", "key_2")
        assert entry["actor"]["api_key"]["user"] == {"id": "user-1", "email": "a@b.c"}
        assert (await admin.get(URL, params={"actor_emails[]": "a@b.c"})).json()["data"] == [entry]


class TestPlans:
    """A page costs what a page costs, however long the log is."""

    @pytest.mark.parametrize(("name", "fields"), [("", {}), *FIELDS])
    async def test_rest_on_an_index(self, database: Database, name: str, fields: dict[str, Any]) -> None:
        fill = text(
            "INSERT INTO audit_logs (id, effective_at, type, project_id, actor, actor_id, actor_email, resource_id, detail)"
            " SELECT 'a' || n, to_timestamp(1700000000 + n), 't' || n % 7, 'p' || n % 50, '{}', 'k' || n % 9, 'e' || n % 9,"
            " 'r' || n, '{}' FROM generate_series(1, 20000) n"
        )
        async with database.session() as session:
            await session.execute(fill)
            session.add(row(1, effective_at=from_unix(1_600_000_000), **fields))
        async with database.raw() as connection:
            await connection.execute("ANALYZE audit_logs")
        plans = await self._plans(database, {name: list(fields.values())} if name else {})
        assert plans
        assert all("Seq Scan" not in plan for plan in plans), plans
        assert any("Index" in plan for plan in plans)

    @staticmethod
    async def _plans(database: Database, among: dict[str, list[str]]) -> list[str]:
        """How PostgreSQL runs what a page asks."""
        told: list[str] = []
        async with database.session() as session:
            connection = await session.connection()
            asked = session.scalars

            async def explained(query: Any) -> Any:
                compiled = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
                plan = await session.execute(text("EXPLAIN " + str(compiled).replace(":", r"\:")))
                told.append("\n".join(line for (line,) in plan))
                return await asked(query)

            session.scalars = explained  # type: ignore[assignment,method-assign]
            await entries.page(session, Wanted(among), Cursor(limit=20, after=None, descending=True))
        return told
