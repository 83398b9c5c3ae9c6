import os
import signal
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from deploy.parts import StackError
from deploy.postgres import Postgres, embedded_postgres, programs
from deploy.process import Account, Command, run_to_end
from tests.deploy.support import alive, running
from tests.servers import start


@pytest.fixture
def cleanup() -> Generator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def postgres(tmp_path: Path, cleanup: ExitStack) -> Postgres:
    """A server that has never been started."""
    log = tmp_path / "log"
    return embedded_postgres(tmp_path / "postgres", log=log, environment=os.environ, cleanup=cleanup, durable=False)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Generator[Postgres]:
    """A durable server for the tests of this module, one after the other: what is killed here must survive."""
    folder = tmp_path_factory.mktemp("lasting")
    with ExitStack() as cleanup:
        yield embedded_postgres(folder / "postgres", log=folder / "log", environment=os.environ, cleanup=cleanup)


async def run(postgres: Postgres, statement: str) -> object:
    connection = await asyncpg.connect(host=str(postgres.sockets), port=5432, user="postgres", database="tuneway")
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


class TestPart:
    async def test_runs_durable_and_on_a_socket_alone(self, lasting: Postgres):
        async with running(lasting.part(), lasting.log):
            assert await run(lasting, "SELECT current_setting('server_version_num')::int / 10000") == 18
            assert await run(lasting, "SHOW fsync") == "on"
            assert await run(lasting, "SHOW listen_addresses") == ""

    async def test_data_survives_a_stop(self, lasting: Postgres):
        async with running(lasting.part(), lasting.log) as server:
            await run(lasting, "CREATE TABLE kept AS SELECT 7 AS number")
            assert await server.stop() == 0
        async with running(lasting.part(), lasting.log):
            assert await run(lasting, "SELECT number FROM kept") == 7

    async def test_data_survives_kill_9(self, lasting: Postgres):
        async with running(lasting.part(), lasting.log) as server:
            await run(lasting, "CREATE TABLE after_kill AS SELECT 7 AS number")
            os.kill(server.pid, signal.SIGKILL)
            await server.wait()
        assert (lasting.directory / "postmaster.pid").exists()
        async with running(lasting.part(), lasting.log):
            assert await run(lasting, "SELECT number FROM after_kill") == 7

    async def test_starts_when_the_pid_of_a_lost_server_belongs_to_another_program(self, lasting: Postgres):
        async with running(lasting.part(), lasting.log) as server:
            await server.stop()
        lines = f"{os.getpid()}\n{lasting.directory}\n1767225600\n5432\n{lasting.directory}\n\n"
        (lasting.directory / "postmaster.pid").write_text(lines)
        (lasting.directory / ".s.PGSQL.5432.lock").write_text(lines)
        async with running(lasting.part(), lasting.log):
            assert await run(lasting, "SELECT 1") == 1

    async def test_stops_a_server_that_still_runs_there(self, lasting: Postgres):
        first = await start(lasting.part(), lasting.log)
        async with running(lasting.part(), lasting.log):
            assert not alive(first.pid)
            assert await run(lasting, "SELECT 1") == 1
        await first.stop()

    async def test_an_interrupted_first_start_is_begun_again(self, postgres: Postgres):
        unfinished = postgres.directory.with_name("postgres.new")
        unfinished.mkdir()
        (unfinished / "PG_VERSION").write_text("18\n")
        async with running(postgres.part(), postgres.log):
            assert not unfinished.exists()

    async def test_a_long_path_gets_a_short_socket(self, tmp_path: Path):
        with ExitStack() as cleanup:
            directory = tmp_path / ("a" * 100) / "b c" / "postgres"
            postgres = embedded_postgres(
                directory, log=tmp_path / "log", environment=os.environ, cleanup=cleanup, durable=False
            )
            async with running(postgres.part(), postgres.log):
                assert await run(postgres, "SELECT 1") == 1
                assert postgres.sockets.stat().st_mode & 0o777 == 0o700
        assert not postgres.sockets.exists()

    async def test_data_of_another_version_is_refused(self, postgres: Postgres):
        postgres.directory.mkdir()
        (postgres.directory / "PG_VERSION").write_text("16\n")
        with pytest.raises(StackError, match="was made by PostgreSQL 16"):
            await postgres.prepare()

    async def test_a_failed_first_start_shows_why(self, postgres: Postgres, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("deploy.postgres.INITDB", ("--no-such-option",))
        with pytest.raises(StackError, match="could not be made") as failed:
            await postgres.prepare()
        assert "no-such-option" in str(failed.value)
        assert not postgres.directory.exists()

    async def test_programs_out_of_reach_are_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        account = Account("own", os.geteuid(), os.getegid())
        monkeypatch.setattr("deploy.postgres._may_run", lambda *_: False)
        with ExitStack() as cleanup:
            copied = programs(account, cleanup)
            assert await run_to_end(Command((str(copied / "postgres"), "--version")), tmp_path / "log") == 0
        assert not copied.exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    async def test_files_restored_by_root_are_given_back(self, lasting: Postgres):
        async with running(lasting.part(), lasting.log) as server:
            await server.stop()
        for path in (lasting.directory, *lasting.directory.rglob("*")):
            os.chown(path, 0, 0)
        async with running(lasting.part(), lasting.log):
            assert await run(lasting, "SELECT 1") == 1
