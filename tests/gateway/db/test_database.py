"""Transactions, and a server that is away."""

import asyncio

import httpx
import msgspec
import pytest
from sqlalchemy import select, text

from gateway.app import build_app
from gateway.db.connection import Connection
from gateway.db.database import Database
from gateway.db.tables import ProjectRow
from gateway.errors import InvalidRequest, Unavailable, Unconfirmed
from gateway.kit.clock import now
from gateway.services import Services
from gateway.settings import DatabaseSettings, Settings
from tests.conftest import chat, client_of
from tests.contract import conforms

pytestmark = pytest.mark.anyio

ONLY_READS = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
WRITES = "INSERT INTO changes (name, version) VALUES ('x', 1)"
KILL_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
NOWHERE = "postgresql+asyncpg://postgres@127.0.0.1:1/nothing"


def project(id: str = "p") -> ProjectRow:
    return ProjectRow(id=id, name="x", created_at=now(), archived_at=None)


async def count(database: Database) -> int:
    async with database.session() as session:
        return len(list(await session.scalars(select(ProjectRow))))


class TestSession:
    async def test_is_committed_at_its_end(self, database: Database) -> None:
        async with database.session() as session:
            session.add(project())
        assert await count(database) == 1

    async def test_is_rolled_back_on_any_exception(self, database: Database) -> None:
        async def fails() -> None:
            async with database.session() as session:
                session.add(project())
                await session.flush()
                raise KeyError

        with pytest.raises(KeyError):
            await fails()
        assert await count(database) == 0

    async def test_a_mistake_of_ours_is_not_called_away(self, database: Database) -> None:
        with pytest.raises(Exception, match="does not exist") as raised:
            async with database.session() as session:
                await session.execute(text("SELECT * FROM nothing"))
        assert not isinstance(raised.value, Unavailable)

    async def test_a_text_with_nul_is_the_clients_mistake(self, database: Database) -> None:
        with pytest.raises(InvalidRequest, match="NUL"):
            async with database.session() as session:
                session.add(project("\0"))

    async def test_a_connection_that_was_lost_is_replaced(self, database: Database) -> None:
        kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
        with pytest.raises(Unavailable):
            async with database.session() as session:
                await session.execute(kill)
        assert await count(database) == 0

    async def test_one_that_is_lost_while_it_commits_may_be_committed(self, database: Database) -> None:
        async def loses_its_connection() -> None:
            async with database.session() as session:
                session.add(project())
                await session.flush()
                await database.fetch(KILL_OTHERS)

        with pytest.raises(Unconfirmed):
            await loses_its_connection()
        assert await count(database) == 0


class TestRaw:
    async def test_connections_that_were_lost_meanwhile_are_replaced(self, database: Database) -> None:
        """Nothing was done on them: nobody hears of it, as often as the server restarts."""
        async with database.raw() as one, database.raw() as other:
            assert await one.fetchval("SELECT pg_backend_pid()") != await other.fetchval("SELECT pg_backend_pid()")
        await database.fetch(KILL_OTHERS)
        for _ in range(3):
            async with database.raw() as connection:
                assert await connection.fetchval("SELECT 1") == 1

    async def test_one_that_is_lost_in_the_middle_is_unavailable(self, database: Database) -> None:
        async def lost() -> None:
            async with database.raw() as connection:
                await connection.execute(WRITES)
                await database.fetch(KILL_OTHERS)
                await connection.execute(WRITES.replace("x", "y"))

        with pytest.raises(Unavailable):
            await lost()
        assert await database.fetch("SELECT name FROM changes WHERE name IN ('x', 'y')") == []

    async def test_is_rolled_back_on_any_exception(self, database: Database) -> None:
        async def fails() -> None:
            async with database.raw() as connection:
                await connection.execute(WRITES)
                raise KeyError

        with pytest.raises(KeyError):
            await fails()
        assert await database.fetch("SELECT name FROM changes WHERE name = 'x'") == []

    async def test_no_more_are_open_than_half_of_the_pool(self, settings: Settings) -> None:
        database = Database(settings.database.url, pool_size=6, timeout=0.5)
        async with database.raw(), database.raw(), database.raw():
            with pytest.raises(Unavailable):
                await database.ping()
        await database.ping()
        await database.close()


class TestReadOnly:
    """After a failover connections may be to a server that only reads, and answers."""

    async def test_a_session_leaves_it(self, database: Database) -> None:
        async with database.session() as session:
            await session.execute(text(ONLY_READS))
        with pytest.raises(Unavailable):
            async with database.session() as session:
                session.add(project())
        async with database.session() as session:
            session.add(project())
        assert await count(database) == 1

    async def test_so_does_who_copies(self, database: Database) -> None:
        await only_reads_then_writes(database)

    async def test_and_who_has_a_connection_of_its_own(self, database: Database) -> None:
        connection = Connection(database.arguments, 5)
        await only_reads_then_writes(connection)
        await connection.close()


async def only_reads_then_writes(database: Database | Connection) -> None:
    async with database.raw() as driver:
        await driver.execute(ONLY_READS)
    with pytest.raises(Unavailable):
        async with database.raw() as driver:
            await driver.execute(WRITES)
    async with database.raw() as driver:
        await driver.execute(WRITES)
        assert await driver.fetchval("SELECT count(*) FROM changes WHERE name = 'x'") == 1


class TestAway:
    async def test_a_server_that_cannot_be_reached_is_unavailable(self) -> None:
        database = Database(NOWHERE, pool_size=1, timeout=5)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await database.ping()
        with pytest.raises(Unavailable, match="cannot be reached"):
            async with database.raw():
                pass
        await database.close()

    async def test_a_pool_that_stays_empty_is_unavailable(self, settings: Settings) -> None:
        database = Database(settings.database.url, pool_size=1, timeout=0.5)  # and for each connection
        async with database.session() as one, database.session() as two:
            await asyncio.gather(one.execute(text("SELECT 1")), two.execute(text("SELECT 1")))
            with pytest.raises(Unavailable):
                await count(database)
            await database.ping()  # that is none of sessions' connections
            async with database.raw(), database.raw():
                with pytest.raises(Unavailable):
                    await database.ping()
        await database.close()

    async def test_a_gateway_starts_without_it_and_answers_503(self, settings: Settings) -> None:
        settings = msgspec.structs.replace(settings, database=DatabaseSettings(url=NOWHERE))
        app = build_app(settings)
        async with app.lifespan(), client_of(app, None) as client:
            ready = await client.get("/ready")
            assert (ready.status_code, (await client.get("/health")).status_code) == (503, 200)
            assert "cannot be reached" in ready.json()["checks"]["database"]

    async def test_clients_get_a_503_and_known_keys_still_call(
        self, sv: Services, client: httpx.AsyncClient, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        away = Database(NOWHERE, pool_size=1, timeout=5)
        monkeypatch.setattr(sv.database, "_loaded", away._sessions)
        for answer in (await client.get("/v1/exchanges"), await admin.get("/v1/organization/projects")):
            assert answer.status_code == 503
            conforms("ErrorResponse", answer.json())
            assert answer.json()["error"]["code"] == "service_unavailable"
            assert answer.headers["retry-after"] == "1"
        assert (await client.post("/v1/chat/completions", json=chat("echo"))).status_code == 200
