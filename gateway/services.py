"""Every long-lived object of a process, made once and passed down. There are no other globals."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.access.open_id import OpenIdProvider
from gateway.access.passwords import Passwords
from gateway.asking import Asking
from gateway.budgets.charges import charge
from gateway.budgets.holders import BEAT_SECONDS
from gateway.budgets.service import Budgets
from gateway.datasets.isolated import Isolated
from gateway.db.database import Database
from gateway.db.mirror import POLL_SECONDS, Mirrors
from gateway.errors import Unavailable
from gateway.examples.shown import ShownExamples
from gateway.exchanges.drain import Drain
from gateway.exchanges.spool import DIRECTORY, Spool
from gateway.files.store import FileStore, first_line
from gateway.grading.sandbox import PythonSandbox
from gateway.inline_rules import InlineRules
from gateway.judging import lag
from gateway.keys.ring import KeyRing
from gateway.kit.background import Background
from gateway.kit.sealing import Sealer, read_keys
from gateway.kit.signals import when_told_to_stop
from gateway.limits.book import LimitBook
from gateway.limits.counters import Counters
from gateway.limits.service import ROUND_SECONDS, RateLimits
from gateway.metering.ledger import Ledger
from gateway.metering.price_book import PriceBook
from gateway.metering.rollups import post_rollups
from gateway.metering.traffic_rollups import post_traffic
from gateway.metrics import Metrics
from gateway.queue import Queue
from gateway.routing.attempts import Attempts, Traffic
from gateway.routing.catalog import Catalog
from gateway.routing.loader import Loader
from gateway.routing.residency import Residency
from gateway.routing.resolve import Names
from gateway.routing.route_book import RouteBook
from gateway.routing.route_checks import refuse_faulty
from gateway.routing.route_targets import tell_of_gaps
from gateway.routing.upstream_book import UpstreamBook
from gateway.rule_judgments import RuleJudgments
from gateway.serving.watch import Watch
from gateway.settings import GradingSettings, Settings
from gateway.streaming import StreamedReply
from gateway.upstreams.client import SHUTTING_DOWN, UpstreamClient

log = logging.getLogger(__name__)

EVAL_PROCESS = (sys.executable, "-m", "gateway.eval_process", "--bound")
LAST_USED_SECONDS = 5.0
MODELS_USED_SECONDS = 2.0
ORPHANS_SECONDS = 10.0
BUDGETS_SECONDS = 0.5
JUDGING_LAG_SECONDS = 10.0
LAST_STREAMS_SECONDS = 5.0
"""For streams whose client has left: they were hung up and only have to be recorded."""


@dataclass(frozen=True)
class Services:
    """What a gateway process lives on."""

    settings: Settings
    database: Database
    queue: Queue
    files: FileStore
    keys: KeyRing
    catalog: Catalog
    residency: Residency
    loader: Loader
    """Brings back fine-tuned models that left the engine for others."""
    route_book: RouteBook
    upstream_book: UpstreamBook
    sealer: Sealer
    """Of the secrets in the database."""
    names: Names
    """What the `model` of a call means."""
    limits: RateLimits
    limit_book: LimitBook
    """Which rate limits hold for whom."""
    mirrors: Mirrors
    prices: PriceBook
    budgets: Budgets
    upstreams: UpstreamClient
    spool: Spool
    drain: Drain
    metrics: Metrics
    inline_rules: InlineRules
    """Hold answers against the rules of their routes."""
    shown_examples: ShownExamples
    """Of routes that show models examples."""
    open_id: OpenIdProvider | None = None
    """None where there is no single sign-on."""
    passwords: Passwords = field(default_factory=Passwords)
    python_sandbox: PythonSandbox | None = None
    """None where Python graders are switched off."""
    datasets: Isolated = field(default_factory=Isolated)
    """Looks at files that strangers made."""
    evals: Isolated = field(default_factory=lambda: Isolated(command=EVAL_PROCESS))
    """Compares runs of evals."""
    background: Background = field(default_factory=Background)
    traffic: Traffic = field(default_factory=Traffic)
    """Calls under way, and what failed lately."""
    calls: set[Attempts[Any]] = field(default_factory=set[Attempts[Any]])
    """Those that have no answer yet."""
    streams: set[StreamedReply] = field(default_factory=set[StreamedReply])
    """Replies on their way, so that a shutdown can end and record those whose client has left."""


@dataclass(frozen=True)
class WorkerServices:
    """What a worker process lives on: no keys, no catalog, no exchange log."""

    settings: Settings
    database: Database
    files: FileStore
    ledger: Ledger
    upstreams: UpstreamClient
    asking: Asking
    """Asks models on a project's behalf."""
    training: asyncio.Semaphore
    """As many trainings at a time as there are devices."""
    devices: deque[str]
    """Those on which nothing is trained; "" is whatever the trainer finds."""
    sealer: Sealer = field(default_factory=Sealer)
    """Of the secrets in the database."""
    python_sandbox: PythonSandbox | None = None
    """None where Python graders are switched off."""
    datasets: Isolated = field(default_factory=Isolated)
    """Looks at files that strangers made."""
    evals: Isolated = field(default_factory=lambda: Isolated(command=EVAL_PROCESS))
    """Measures runs of evals."""
    watches: dict[str, Watch] = field(default_factory=dict[str, Watch])
    """Base URL of a replica of the engine -> what this worker remembers of it."""
    background: Background = field(default_factory=Background)


@asynccontextmanager
async def gateway_services(settings: Settings) -> AsyncGenerator[Services]:
    """Open everything, run the background loops, and on the way out bring the spool to the database."""
    sv = _build(settings)
    await sv.upstreams.open()
    await sv.mirrors.catch_up()  # without the database, serve what needs none and keep trying
    tell_of_gaps(sv.catalog, settings.routing.aliases, sv.route_book.configured)
    sv.background.repeat(lambda: _load_rules(sv), POLL_SECONDS, "load what applies rules to answers")
    sv.background.repeat(sv.mirrors.refresh, POLL_SECONDS, "refresh keys and models")
    sv.background.repeat(lambda: sv.keys.save_last_used(sv.database), LAST_USED_SECONDS, "save when keys were used")
    sv.background.repeat(
        lambda: sv.residency.save_last_used(sv.database), MODELS_USED_SECONDS, "save when models were used"
    )
    sv.background.repeat(sv.budgets.tend, BUDGETS_SECONDS, "give back what budgets were not needed for")
    sv.background.repeat(sv.budgets.beat, BEAT_SECONDS, "say that this process holds leases of budgets")
    sv.background.repeat(sv.limits.tend, ROUND_SECONDS, "tend rate limits")
    sv.background.repeat(sv.drain.drain, settings.exchanges.drain_seconds, "drain the exchange log")
    sv.background.repeat(sv.drain.adopt_orphans, ORPHANS_SECONDS, "adopt exchange logs of dead processes")
    sv.background.repeat(lambda: _show_judging(sv), JUDGING_LAG_SECONDS, "show how far judges are behind")
    sv.background.spawn(_check(sv.files), "check the file storage")
    with when_told_to_stop(lambda: sv.background.spawn(_end_calls(sv), "end calls on their way")):
        try:
            yield sv
        finally:
            await _close(sv)


@asynccontextmanager
async def worker_services(settings: Settings) -> AsyncGenerator[WorkerServices]:
    """Open everything that tasks need."""
    devices = settings.fine_tuning.devices or ("",)
    database, sealer = Database.of(settings), Sealer(read_keys(settings.encryption_key.reveal()))
    wv = WorkerServices(
        settings=settings,
        database=database,
        files=FileStore(settings.files, settings.data_dir),
        ledger=_ledger(),
        upstreams=UpstreamClient(settings.timeouts),
        asking=Asking(settings, database, sealer),
        training=asyncio.Semaphore(len(devices)),
        devices=deque(devices),
        sealer=sealer,
        python_sandbox=_python_sandbox(settings.grading),
    )
    await wv.upstreams.open()
    wv.background.spawn(_check(wv.files), "check the file storage")
    try:
        yield wv
    finally:
        await wv.background.close()
        await wv.asking.close()
        await wv.upstreams.close()
        await wv.database.close()


def _build(settings: Settings) -> Services:
    database, sealer = Database.of(settings), Sealer(read_keys(settings.encryption_key.reveal()))
    upstream_book, residency = UpstreamBook(sealer), Residency(settings.engine.urls)
    keys, catalog = KeyRing(settings.secret_key.reveal()), Catalog(settings, upstream_book)
    route_book, prices = _route_book(settings), PriceBook(settings.prices)
    queue, background = Queue(settings.redis.url), Background()
    limit_book, shown_examples = LimitBook(settings), ShownExamples(database, background)
    spool = Spool(settings.data_dir / DIRECTORY, segment_bytes=settings.exchanges.segment_bytes)
    budgets = Budgets(database, spool.directory.name, settings.budgets)
    mirrored = [budgets.book, keys, catalog, residency, route_book, upstream_book, prices, budgets.wants, limit_book]
    mirrors = Mirrors(database, [*mirrored, shown_examples])  # a key is never known before its budget
    return Services(
        settings=settings,
        database=database,
        queue=queue,
        files=FileStore(settings.files, settings.data_dir),
        keys=keys,
        catalog=catalog,
        residency=residency,
        loader=Loader.of(queue, mirrors, residency, background),
        route_book=route_book,
        upstream_book=upstream_book,
        sealer=sealer,
        names=Names(catalog, route_book, mirrors, settings.routing, settings.timeouts),
        limits=_limits(settings, limit_book, background),
        limit_book=limit_book,
        mirrors=mirrors,
        prices=prices,
        budgets=budgets,
        upstreams=UpstreamClient(settings.timeouts),
        spool=spool,
        drain=_drain(spool, database, budgets),
        shown_examples=shown_examples,
        inline_rules=InlineRules(background, settings.routing.check_processes),
        metrics=Metrics(residency),
        open_id=_open_id(settings),
        python_sandbox=_python_sandbox(settings.grading),
        background=background,
    )


def _route_book(settings: Settings) -> RouteBook:
    """Raises SettingsError: a route of the settings has rules that make no sense."""
    book = RouteBook(settings.routes)
    refuse_faulty(book.configured)
    return book


def _drain(spool: Spool, database: Database, budgets: Budgets) -> Drain:
    post, judgments = _ledger().post, RuleJudgments(database)
    return Drain(spool, database, post=post, count=post_traffic, released=budgets.released, judgments=judgments)


def _limits(settings: Settings, book: LimitBook, background: Background) -> RateLimits:
    counters = Counters(settings.redis.url, answer_seconds=settings.limits.answer_seconds)
    return RateLimits(book, counters, background)


async def _show_judging(sv: Services) -> None:
    async with sv.database.session() as session:
        sv.metrics.show_judging(*await lag.overall(session))


async def _load_rules(sv: Services) -> None:
    """Once a route has checks."""
    if sv.route_book.has_checks:
        sv.inline_rules.start()


def _ledger() -> Ledger:
    """With everything that follows from a row of it; budgets last, whose locks are wanted most."""
    return Ledger([post_rollups, charge])


def _open_id(settings: Settings) -> OpenIdProvider | None:
    return OpenIdProvider(settings.oidc, settings.secret_key.reveal()) if settings.oidc.issuer else None


def _python_sandbox(grading: GradingSettings) -> PythonSandbox | None:
    command = grading.python_runner
    return PythonSandbox(command, concurrency=grading.python_concurrency) if command else None


async def _check(files: FileStore) -> None:
    """Tell at once what is wrong with the file storage; whatever needs no files works without it."""
    try:
        await files.ping()
    except Unavailable as away:
        log.error("%s Until then files, uploads and fine-tuning answer 503. (%s)", away, first_line(away.__cause__))


async def _end_calls(sv: Services) -> None:
    """Give calls on their way their time, then hang up every upstream: each call ends with an error and is recorded,
    before the server (deploy/gateway_server.py) ends this process in the middle of it."""
    await asyncio.sleep(sv.settings.timeouts.finish)
    sv.upstreams.end_calls()
    for call in list(sv.calls):
        call.end(Unavailable(SHUTTING_DOWN))


async def _close(sv: Services) -> None:
    for stream in list(sv.streams):
        stream.hang_up()
    with suppress(TimeoutError):
        async with asyncio.timeout(LAST_STREAMS_SECONDS):
            for stream in list(sv.streams):
                await stream.ended.wait()
    await sv.background.close()
    await sv.limits.close()
    await sv.budgets.close()
    await sv.drain.close()
    for save_last_used in (sv.keys.save_last_used, sv.residency.save_last_used):
        with suppress(Unavailable):
            await save_last_used(sv.database)
    await sv.upstreams.close()
    await sv.queue.close()
    await sv.database.close()
