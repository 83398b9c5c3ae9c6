"""The embedded stack: which parts `tuneway serve` runs, with which settings, and in which order.

    postgres ─┬─ migrations ─┬─ worker
    redis ────┼──────────────┴─ gateway
    engine    (starts at once; nobody waits for it)

A server that the configuration names (`database.url`, `redis.url`) takes the place of the embedded one.
"""

import importlib.util
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from deploy.data_dir import claim
from deploy.interrupts import Interrupts, listen
from deploy.leftovers import stop_leftovers
from deploy.parts import Pace, Part, StackError
from deploy.postgres import Postgres, embedded_postgres, without_libpq
from deploy.probes import LOOPBACK, answers_ok, check_port, free_port, url_of
from deploy.process import Command
from deploy.redis import Redis, embedded_redis
from deploy.story import Terminal
from deploy.supervisor import Supervisor
from deploy.vllm import VllmOptions, find_vllm
from trainer.starter import STARTER

STARTER_NAME = "starter"
ADMIN_KEY = "TUNEWAY_ADMIN_KEY"
PYTHON = (sys.executable, "-P", "-m")  # -P: a folder named deploy or gateway where the operator stands is not ours
DRAIN_SECONDS = 30.0
ENGINE_SECONDS = 1800.0  # a large model is read from a slow disk
USAGE = (2,)  # the status of a program whose settings or options are wrong


@dataclass(frozen=True)
class StackOptions:
    """What `tuneway serve` was asked for. `port` 0 takes a free one.

    `database_url` and `redis_url` are servers to use instead of the embedded ones, `secret_key` one that the operator keeps
    instead of the data directory; `keeps_encryption_key` says that the settings hold one of those, too.
    """

    data_dir: Path
    host: str = LOOPBACK
    port: int = 8000
    model: str = STARTER_NAME
    engine: Literal["embedded", "vllm", "none"] = "embedded"
    workers: int = 1
    config: Path | None = None
    admin_key: str | None = None
    database_url: str | None = None
    redis_url: str | None = None
    secret_key: str | None = None
    keeps_encryption_key: bool = False
    vllm: VllmOptions = field(default_factory=VllmOptions)


@dataclass(frozen=True)
class Programs:
    """The command of each part that is ours; the stack appends the options. Tests put small ones here."""

    migrate: tuple[str, ...] = (*PYTHON, "deploy.cli", "migrate")
    worker: tuple[str, ...] = (*PYTHON, "deploy.cli", "worker")
    gateway: tuple[str, ...] = (*PYTHON, "deploy.cli", "gateway")
    engine: tuple[str, ...] = (*PYTHON, "trainer.engine")
    engine_needs: tuple[str, ...] = ("torch", "transformers", "peft")
    leash: tuple[str, ...] = (*PYTHON, "deploy.leash")
    """What vLLM's own command is appended to."""


async def serve(options: StackOptions, programs: Programs | None = None, pace: Pace | None = None) -> int:
    """Run the whole stack in the foreground until a signal stops it; the exit status.

    0: stopped by SIGINT, SIGTERM or SIGHUP. 1: it could not start, or a part was given up. 2: the data directory is in use.
    Call it on the main thread.
    """
    terminal = Terminal()
    try:
        with listen() as interrupts, ExitStack() as cleanup:
            stack = Stack(options, programs or Programs(), cleanup)
            terminal.begin(stack.place.root)
            await stack.run(terminal, interrupts, pace)
    except StackError as error:
        terminal.refuse(str(error))
        return error.exit_status
    except OSError as error:
        terminal.refuse(f"The stack cannot run: {error}.")
        return 1
    return 0


@dataclass(frozen=True)
class Model:
    """What an engine of this stack serves: clients call it `name`; `path` is a directory or a local Hugging Face id."""

    name: str
    path: str


class Stack:
    """Holds the data directory from its making until `cleanup` is closed."""

    def __init__(self, options: StackOptions, programs: Programs, cleanup: ExitStack) -> None:
        """Raises StackError for what can be said before anything is started."""
        self.options = options
        self.programs = programs
        needs = programs.engine_needs if options.engine == "embedded" else ()
        self.vllm = find_vllm(options.vllm) if options.engine == "vllm" else None
        self.model = find_model(options.model, needs) if options.engine != "none" else None
        self.port = options.port or free_port()
        self.engine_port = free_port()
        self.url = url_of(options.host, self.port)
        self.place = cleanup.enter_context(claim(options.data_dir.expanduser().resolve(), self.url))
        inherited = {name: value for name, value in os.environ.items() if name != ADMIN_KEY}
        self.postgres = self._own_postgres(inherited, cleanup)
        self.redis = self._own_redis(inherited, cleanup)
        self.environment = self._environment(inherited)
        self.new_admin_key = None if self.place.has_admin_key else options.admin_key or make_admin_key()

    async def run(self, terminal: Terminal, interrupts: Interrupts, pace: Pace | None) -> None:
        """Start, serve until told to stop, stop. Raises StackError."""
        parts = self.parts()
        left_over = await stop_leftovers(self.place.run / "parts.json", {part.name: part.command for part in parts})
        if left_over:
            terminal.left_over(left_over)
        check_port(self.options.host, self.port)
        supervisor = Supervisor(parts, run=self.place.run, logs=self.place.logs, story=terminal, pace=pace)
        try:
            if await interrupts.unless_stopped(supervisor.start()):
                self._announce(terminal, loading="engine" in supervisor.still_starting())
                await interrupts.unless_stopped(supervisor.watch())
            terminal.stopping()
        finally:
            await supervisor.stop(interrupts.hurry)
        terminal.stopped()

    def parts(self) -> list[Part]:
        """In the order of their start."""
        database = [self.postgres.part()] if self.postgres else []
        coordinator = [self.redis.part()] if self.redis else []
        migrations = self._migrations(tuple(part.name for part in database))
        needed = tuple(part.name for part in (*database, *coordinator, migrations))
        engine = [self._engine(self.model)] if self.model is not None else []
        return [*database, *coordinator, migrations, *engine, self._worker(needed), self._gateway(needed)]

    def _announce(self, terminal: Terminal, loading: bool) -> None:
        """The first admin key is remembered as made once it has been shown."""
        shown = None if self.options.admin_key else self.new_admin_key
        patience = " (vLLM takes about a minute)" if self.vllm is not None else ""
        model = f"{self.model.name} is loading{patience}" if self.model is not None and loading else None
        terminal.up(self.url, logs=self.place.logs, admin_key=shown, model=model)
        if self.new_admin_key is not None:
            self.place.remember_admin_key()

    def _own_postgres(self, environment: Mapping[str, str], cleanup: ExitStack) -> Postgres | None:
        if self.options.database_url is not None:
            return None
        log = self.place.logs / "postgres.log"
        return embedded_postgres(self.place.postgres, log=log, environment=environment, cleanup=cleanup)

    def _own_redis(self, environment: Mapping[str, str], cleanup: ExitStack) -> Redis | None:
        if self.options.redis_url is not None:
            return None
        return embedded_redis(self.place.redis, environment=environment, cleanup=cleanup)

    def _environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """What each of our own programs gets: settings that overlay the configuration file."""
        environment = without_libpq(inherited) if self.postgres else dict(inherited)
        environment |= {
            "PYTHONUNBUFFERED": "1",
            "TUNEWAY_DATA_DIR": str(self.place.root),
            "TUNEWAY_SECRET_KEY": self.options.secret_key or self.place.secret_key(),
            "TUNEWAY_WORKER__GATEWAY_URL": self.url,
        }
        if not self.options.keeps_encryption_key:
            environment["TUNEWAY_ENCRYPTION_KEY_FILE"] = str(self.place.encryption_key_file())
        if (database_url := self.postgres.url if self.postgres else self.options.database_url) is not None:
            environment["TUNEWAY_DATABASE__URL"] = database_url
        if (redis_url := self.redis.url if self.redis else self.options.redis_url) is not None:
            environment["TUNEWAY_REDIS__URL"] = redis_url
        if self.options.config is not None:
            environment["TUNEWAY_CONFIG"] = str(self.options.config.expanduser().resolve())
        if self.model is not None:
            environment["TUNEWAY_ENGINE__URL"] = f"{url_of(LOOPBACK, self.engine_port)}/v1"
            environment["TUNEWAY_ENGINE__MODEL"] = self.model.name
            environment["TUNEWAY_ENGINE__MODEL_PATH"] = self.model.path
        if self.vllm is not None:
            environment["TUNEWAY_ENGINE__API_KEY"] = self.vllm.api_key
        return environment

    def _migrations(self, depends_on: tuple[str, ...]) -> Part:
        """They alone get the admin key, and store its hash."""
        admin_key = self.options.admin_key or self.new_admin_key
        environment = self.environment | ({ADMIN_KEY: admin_key} if admin_key else {})
        reseal = () if self.options.keeps_encryption_key else ("--reseal",)  # nobody else runs on this key file
        command = Command((*self.programs.migrate, *reseal), environment)
        return Part("migrations", command, once=True, depends_on=depends_on)

    def _engine(self, model: Model) -> Part:
        """Nobody waits for it. It ends with status 1 when the model cannot be loaded."""
        if self.vllm is not None:
            return self.vllm.part(self.programs.leash, model=model.path, name=model.name, port=self.engine_port)
        names = ("--model", model.path, "--served-model-name", model.name)
        place = ("--host", LOOPBACK, "--port", str(self.engine_port), "--exit-with-parent")
        command = Command((*self.programs.engine, *names, *place), self.environment)
        ready = partial(answers_ok, LOOPBACK, self.engine_port, "/health")
        return Part("engine", command, ready=ready, ready_timeout=ENGINE_SECONDS, awaited=False, final=(1, *USAGE))

    def _worker(self, depends_on: tuple[str, ...]) -> Part:
        command = Command(self.programs.worker, self.environment, stop_timeout=DRAIN_SECONDS)
        return Part("worker", command, depends_on=depends_on, final=USAGE)

    def _gateway(self, depends_on: tuple[str, ...]) -> Part:
        """Ready when it is alive: its /ready waits for the engine."""
        host, port = self.options.host, str(self.port)
        argv = (*self.programs.gateway, "--host", host, "--port", port, "--workers", str(self.options.workers))
        command = Command(argv, self.environment, stop_timeout=DRAIN_SECONDS)
        ready = partial(answers_ok, host, self.port, "/health")
        return Part("gateway", command, ready=ready, depends_on=depends_on, final=USAGE)


def find_model(model: str, engine_needs: Sequence[str]) -> Model:
    """The starter, a directory (clients call it by its last part) or a Hugging Face id.

    Raises StackError when there is no such directory, or when a package that the embedded engine needs is missing.
    """
    missing = [name for name in engine_needs if importlib.util.find_spec(name) is None]
    if missing:
        raise StackError(
            f"The embedded engine needs {', '.join(missing)}: pip install 'tuneway[train]', or start with --engine none."
        )
    if model == STARTER_NAME:
        return Model(STARTER_NAME, str(STARTER))
    path = Path(model).expanduser()
    if path.is_dir():
        return Model(path.resolve().name, str(path.resolve()))
    if model.startswith((".", "/", "~")) or path.exists():
        raise StackError(
            f"There is no model at {model}: --model takes 'starter', a directory or a local Hugging Face id."
        )
    return Model(model, model)


def make_admin_key() -> str:
    """`sk-admin-` and 43 characters that carry 256 random bits."""
    return "sk-admin-" + secrets.token_urlsafe(32)
