"""Every long-lived object of a process, made once and passed down. There are no other globals."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway import process_alerts
from gateway.access.flow import Provider
from gateway.access.passwords import Passwords
from gateway.alert_looks import Looks
from gateway.budgets.beats import BEAT_SECONDS
from gateway.budgets.charges import charge
from gateway.budgets.service import Budgets
from gateway.datasets.isolated import Isolated
from gateway.db.blobs import LargeBodies
from gateway.db.database import Database
from gateway.db.mirror import POLL_SECONDS, Mirrors
from gateway.draining import Draining
from gateway.errors import Unavailable
from gateway.examples.shown import ShownExamples
from gateway.exchanges.drain import Drain
from gateway.exchanges.followed import Begin
from gateway.exchanges.spool import DIRECTORY, Spool
from gateway.files.store import FileStore, first_line
from gateway.grading.sandbox import PythonSandbox
from gateway.inline_rules import InlineRules
from gateway.judging.waiting import waiting_tasks
from gateway.keys.ring import KeyRing
from gateway.kit.background import Background
from gateway.kit.sealing import Sealer, read_keys
from gateway.kit.section import revealed
from gateway.kit.signals import when_told_to_stop
from gateway.late_judgments import LateJudgments
from gateway.limits.book import LimitBook
from gateway.limits.counters import Counters
from gateway.limits.service import ROUND_SECONDS, RateLimits
from gateway.metering.ledger import Ledger
from gateway.metering.price_book import PriceBook
from gateway.metering.rollups import post_rollups
from gateway.metering.traffic_counts import post_traffic
from gateway.metrics import Metrics
from gateway.process_alerts import SpoolDepth
from gateway.protocol.alerts import Alert
from gateway.queue import Queue
from gateway.reply_cache.memory import Memory
from gateway.reply_cache.service import ReplyCache
from gateway.reply_cache.shared import Shared
from gateway.routing.attempts import Attempts, Traffic
from gateway.routing.catalog import Catalog
from gateway.routing.loader import Loader
from gateway.routing.residency import Residency
from gateway.routing.resolve import Names
from gateway.routing.route_book import RouteBook
from gateway.routing.route_checks import refuse_faulty
from gateway.routing.route_targets import tell_of_gaps
from gateway.routing.upstream_book import UpstreamBook
from gateway.rule_processes import RuleProcesses
from gateway.serving.watch import Watch
from gateway.settings import GradingSettings, Settings
from gateway.spool_metrics import SpoolMetrics
from gateway.streamed_reply import StreamedReply
from gateway.telemetry import Telemetry
from gateway.upstreams.client import SHUTTING_DOWN, UpstreamClient

if TYPE_CHECKING:
    from gateway.asking import Asking

log = logging.getLogger(__name__)

EVAL_PROCESS = (sys.executable, "-m", "gateway.eval_process", "--bound")
GUIDANCE_PROCESS = (sys.executable, "-m", "gateway.guidance_process", "--bound")
LAST_USED_SECONDS = 5.0
MODELS_USED_SECONDS = 2.0
ORPHANS_SECONDS = 10.0
TURN_SECONDS = 60.0
"""For so long, about, a segment is appended to: what is erased in the database lies on the disk no longer."""
BUDGETS_SECONDS = 0.5
JUDGING_LAG_SECONDS = 10.0
ALERT_SECONDS = 15.0
JUDGE_KILL_SECONDS = 300.0
"""By the clock, of a process that is at the rules of a judge; those have a limit of their own, of CPU time."""
REPLIES_SECONDS = 10.0
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
    """Brings the spool to the database, inside of this process."""
    metrics: Metrics
    inline_rules: InlineRules
    """Hold answers against the rules of their routes."""
    rule_trials: InlineRules
    """Those that people only try; a process of its own, once somebody does."""
    shown_examples: ShownExamples
    """Of routes that show models examples."""
    replies: ReplyCache
    """Answers that are given again, where a route or the settings say so."""
    draining: Draining | None = None
    """Does it in a process of its own; None where it is done inside."""
    open_id: Provider | None = None
    """None where there is no single sign-on."""
    telemetry: Telemetry | None = None
    """None where no traces are asked for."""
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
    asking: "Asking"
    """Asks models on a project's behalf."""
    rules: RuleProcesses
    """Hold answers against the rules of judges."""
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
    guidance: Isolated = field(default_factory=lambda: Isolated(command=GUIDANCE_PROCESS, at_once=1))
    """Finds clusters of failures."""
    watches: dict[str, Watch] = field(default_factory=dict[str, Watch])
    """Base URL of a replica of the engine -> what this worker remembers of it."""
    looks: Looks = field(default_factory=Looks)
    """For alerts."""
    background: Background = field(default_factory=Background)


@asynccontextmanager
async def gateway_services(settings: Settings) -> AsyncGenerator[Services]:
    """Open everything, run the background loops, and on the way out bring the spool to the database."""
    sv = _build(settings)
    sv.metrics.registry.register(SpoolMetrics(sv.spool, sv.draining))
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
    _start_draining(sv)
    sv.background.repeat(lambda: _turn_spool(sv), TURN_SECONDS, "begin a new segment of the exchange log")
    if sv.telemetry:
        sv.metrics.registry.register(sv.telemetry.traces)
        sv.telemetry.start()
    sv.background.repeat(sv.replies.tend, REPLIES_SECONDS, "forget kept replies that have ended")
    sv.background.repeat(lambda: _show_judging(sv), JUDGING_LAG_SECONDS, "show how far judges are behind")
    sv.background.repeat(lambda: _note_alerts(sv), ALERT_SECONDS, "note what this process alone knows of as wrong")
    sv.background.spawn(_check(sv.files), "check the file storage")
    with when_told_to_stop(lambda: sv.background.spawn(_end_calls(sv), "end calls on their way")):
        try:
            yield sv
        finally:
            await _close(sv)


@asynccontextmanager
async def worker_services(settings: Settings) -> AsyncGenerator[WorkerServices]:
    """Open everything that tasks need."""
    from gateway.asking import Asking  # an HTTP client that gateways do without

    devices = settings.fine_tuning.devices or ("",)
    database, sealer = Database.of(settings), Sealer(read_keys(settings.encryption_key.reveal()))
    background = Background()
    wv = WorkerServices(
        settings=settings,
        database=database,
        files=_files(settings, database),
        ledger=_ledger(),
        upstreams=UpstreamClient(settings.timeouts),
        asking=Asking(settings, database, sealer),
        rules=RuleProcesses(background, settings.routing.check_processes, kill_seconds=JUDGE_KILL_SECONDS),
        training=asyncio.Semaphore(len(devices)),
        devices=deque(devices),
        sealer=sealer,
        python_sandbox=_python_sandbox(settings.grading),
        background=background,
    )
    wv.background.spawn(_check(wv.files), "check the file storage")
    try:
        yield wv
    finally:
        await wv.background.close()
        await wv.asking.close()
        wv.upstreams.close()
        await wv.database.close()


def _build(settings: Settings) -> Services:
    database, sealer = Database.of(settings), Sealer(read_keys(settings.encryption_key.reveal()))
    upstream_book, residency, background = UpstreamBook(sealer), Residency(settings.engine.urls), Background()
    keys, catalog = KeyRing(settings.secret_key.reveal()), Catalog(settings, upstream_book)
    limit_book, prices, route_book = LimitBook(settings), PriceBook(settings.prices), _route_book(settings)
    spool, queue, shown_examples = _spool(settings), Queue(settings.redis.url), ShownExamples(database, background)
    replies, budgets = _replies(settings, background), Budgets(database, spool.directory.name, settings.budgets)
    mirrored = [budgets.book, keys, catalog, residency, route_book, upstream_book, prices, budgets.wants, limit_book]
    mirrors = Mirrors(database, [*mirrored, shown_examples, replies])  # a key is never known before its budget
    return Services(
        settings=settings,
        database=database,
        queue=queue,
        files=_files(settings, database),
        keys=keys,
        catalog=catalog,
        residency=residency,
        loader=Loader.of(queue, mirrors, residency, background),
        route_book=route_book,
        upstream_book=upstream_book,
        sealer=sealer,
        names=_names(settings, catalog, route_book, mirrors),
        replies=replies,
        limits=_limits(settings, limit_book, background),
        limit_book=limit_book,
        mirrors=mirrors,
        prices=prices,
        budgets=budgets,
        upstreams=UpstreamClient(settings.timeouts),
        spool=spool,
        drain=(drain := _drain(spool, database, budgets)),
        draining=_draining(settings, spool, database, drain),
        shown_examples=shown_examples,
        inline_rules=InlineRules(background, settings.routing.check_processes),
        rule_trials=InlineRules(background, processes=1),
        metrics=Metrics(residency),
        **_switched_on(settings),
        background=background,
    )


def _files(settings: Settings, database: Database) -> FileStore:
    """Where large bodies of the log are, too."""
    files = FileStore(settings.files, settings.data_dir)
    database.large_bodies = LargeBodies(files, settings.exchanges.blob_bytes)
    return files


def _switched_on(settings: Settings) -> dict[str, Any]:
    """What most have no use for; None where it is off."""
    return {
        "open_id": _open_id(settings),
        "telemetry": Telemetry(settings.telemetry) if settings.telemetry.otlp_endpoint else None,
        "python_sandbox": _python_sandbox(settings.grading),
    }


def _route_book(settings: Settings) -> RouteBook:
    """Raises SettingsError: a route of the settings has rules that make no sense."""
    book = RouteBook(settings.routes)
    refuse_faulty(book.configured)
    return book


def _spool(settings: Settings) -> Spool:
    exchanges = settings.exchanges
    return Spool(
        settings.data_dir / DIRECTORY,
        segment_bytes=exchanges.segment_bytes,
        max_bytes=exchanges.max_spool_bytes,
        sync=exchanges.sync,
    )


def _names(settings: Settings, catalog: Catalog, route_book: RouteBook, mirrors: Mirrors) -> Names:
    cache = settings.cache.of_models if settings.cache.enabled else None
    return Names(catalog, route_book, mirrors, settings.routing, settings.timeouts, cache=cache)


def _replies(settings: Settings, background: Background) -> ReplyCache:
    wanted, secret_key = settings.cache, settings.secret_key.reveal()
    url, seconds, most = settings.redis.url, wanted.answer_seconds, wanted.redis_bytes
    shared = Shared(url, secret_key, answer_seconds=seconds, limit=most) if wanted.redis else None
    return ReplyCache(secret_key, Memory(wanted.memory_bytes), shared, background)


def _drain(spool: Spool, database: Database, budgets: Budgets) -> Drain:
    post, judgments = _ledger().post, LateJudgments(lambda: database)
    return Drain(spool, database, post=post, count=post_traffic, released=budgets.released, judgments=judgments)


def _draining(settings: Settings, spool: Spool, database: Database, inside: Drain) -> Draining | None:
    if settings.exchanges.drain == "inside":
        return None

    def begin(offsets: dict[str, int]) -> Begin:
        return Begin(
            directory=str(spool.directory.resolve()),
            offsets=offsets,
            connection=database.arguments,
            url=settings.database.url,
            seconds=settings.exchanges.drain_seconds,
            answer_seconds=settings.timeouts.database,
            data_dir=str(settings.data_dir.resolve()),
            files=revealed(settings.files),
            blob_bytes=settings.exchanges.blob_bytes,
        )

    return Draining(spool, begin, inside)


async def _turn_spool(sv: Services) -> None:
    sv.spool.turn()


def _start_draining(sv: Services) -> None:
    if sv.draining is not None:
        sv.draining.start()
        return
    sv.background.repeat(sv.drain.drain, sv.settings.exchanges.drain_seconds, "drain the exchange log")
    sv.background.repeat(sv.drain.adopt_orphans, ORPHANS_SECONDS, "adopt exchange logs of dead processes")


def _limits(settings: Settings, book: LimitBook, background: Background) -> RateLimits:
    counters = Counters(settings.redis.url, answer_seconds=settings.limits.answer_seconds)
    return RateLimits(book, counters, background)


async def _show_judging(sv: Services) -> None:
    async with sv.database.raw() as connection:
        sv.metrics.show_judging(*await waiting_tasks(connection))


def alerts_here(sv: Services) -> list[Alert]:
    """What this process alone knows of as not as it should be."""
    spool = SpoolDepth(sv.spool.directory.name, sv.spool.size, sv.spool.max_bytes, sv.spool.trouble)
    return process_alerts.in_process(sv.settings.alerts, spool, sv.traffic.breakers.open())


async def _note_alerts(sv: Services) -> None:
    if found := alerts_here(sv):
        from gateway import open_alerts  # SQLAlchemy, which calls do without

        async with sv.database.session() as session:
            await open_alerts.note(session, found)


async def _load_rules(sv: Services) -> None:
    """Once a route has checks."""
    if sv.route_book.has_checks:
        sv.inline_rules.start()


def _ledger() -> Ledger:
    """With everything that follows from a row of it; budgets last, whose locks are wanted most."""
    return Ledger([post_rollups, charge])


def _open_id(settings: Settings) -> Provider | None:
    if not settings.oidc.issuer:
        return None
    from gateway.access.open_id import OpenIdProvider  # an HTTP client and signatures, for nothing else

    return OpenIdProvider(settings.oidc, settings.secret_key.reveal())


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
    sv.upstreams.close()
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
    await sv.replies.close()
    await sv.budgets.close()
    await (sv.draining or sv.drain).close()
    if sv.telemetry:
        await asyncio.to_thread(sv.telemetry.close)
    for save_last_used in (sv.keys.save_last_used, sv.residency.save_last_used):
        with suppress(Unavailable):
            await save_last_used(sv.database)
    sv.upstreams.close()
    await sv.queue.close()
    await sv.database.close()
