"""/v1/organization/settings (an extension): how this gateway is configured, and what of it is running; it changes nothing"""

import asyncio
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from litestar import get
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import sessions
from gateway.db.revision import revision as revision_of
from gateway.db.tables import BudgetHolderRow, ReplicaRow, TrainingHardwareRow
from gateway.errors import Unavailable
from gateway.judging import work
from gateway.kit.clock import unix
from gateway.protocol.organization_settings import (
    Kept,
    OrganizationSettings,
    SchemaState,
    SeenEngine,
    SeenGateway,
    SeenMachine,
    SingleSignOnState,
    SpoolState,
    StorageState,
)
from gateway.routes.callers import Admin, Sv
from gateway.routes.single_sign_on import CALLBACK
from gateway.services import Services
from gateway.settings import Settings
from gateway.shown_settings import shown, without_password
from gateway.webhooks import deliveries

MOST = 100
"""Of processes, machines and engines."""


@get("/v1/organization/settings")
async def retrieve_settings(sv: Sv, admin: Admin) -> OrganizationSettings:
    """Of the process that answers: others may have been started with other ones."""
    async with sv.database.session() as session:
        revision = await revision_of(session)
        gateways, workers = await _gateways(session), await _workers(session)
        engines = await _engines(session, sv.settings.engine.urls)
    return OrganizationSettings(
        version=_version(),
        database=SchemaState(revision=revision, newest=await asyncio.to_thread(_newest)),
        gateways=gateways,
        worker_alive=await _worker_alive(sv),
        workers=workers,
        engines=engines,
        spool=SpoolState(path=str(sv.spool.directory), bytes=sv.spool.size),
        storage=_storage(sv.settings),
        single_sign_on=_single_sign_on(sv.settings),
        kept=_kept(sv.settings),
        sections=shown(sv.settings),
    )


@cache
def _version() -> str:
    try:
        return version("tuneway")
    except PackageNotFoundError:
        return "unknown"


@cache
def _newest() -> str:
    """It reads every migration, once."""
    from gateway.db import migrate  # Alembic, which nothing else of a gateway needs

    return migrate.newest()


async def _worker_alive(sv: Services) -> bool | None:
    try:
        return await sv.queue.worker_alive()
    except Unavailable:
        return None


async def _gateways(session: AsyncSession) -> list[SeenGateway]:
    """Who was heard of last comes first."""
    rows = await session.scalars(select(BudgetHolderRow).order_by(BudgetHolderRow.seen_at.desc()).limit(MOST))
    return [SeenGateway(id=row.id, host=row.host, since=unix(row.since), seen_at=unix(row.seen_at)) for row in rows]


async def _workers(session: AsyncSession) -> list[SeenMachine]:
    rows = await session.scalars(select(TrainingHardwareRow).order_by(TrainingHardwareRow.seen_at.desc()).limit(MOST))
    return [SeenMachine(host=row.host, trains_on=_devices(row.description), seen_at=unix(row.seen_at)) for row in rows]


def _devices(described: dict[str, Any]) -> str:
    """Of trainer.contract.HardwareDescription, as it was stored."""
    return f"{described.get('devices', 1)} x {described.get('name') or 'unknown'}"


async def _engines(session: AsyncSession, urls: tuple[str, ...]) -> list[SeenEngine]:
    """Those of the settings, in their order."""
    rows = {row.url: row for row in await session.scalars(select(ReplicaRow).where(ReplicaRow.url.in_(urls)))}
    return [_engine(url, rows.get(url)) for url in urls[:MOST]]


def _engine(url: str, row: ReplicaRow | None) -> SeenEngine:
    told = without_password(url)
    if row is None:
        return SeenEngine(url=told, state="unknown", problem=None, seen_at=None)
    state: Any = row.state
    return SeenEngine(url=told, state=state, problem=row.problem, seen_at=unix(row.seen_at) if row.seen_at else None)


def _kept(settings: Settings) -> list[Kept]:
    return [
        Kept(what="exchange_bodies", seconds=_days(settings.retention.body_days)),
        Kept(what="exchanges", seconds=_days(settings.retention.exchange_days)),
        Kept(what="audit_log", seconds=_days(settings.retention.audit_log_days)),
        Kept(what="training_logs", seconds=_days(settings.retention.training_log_days)),
        Kept(what="failed_job_files", seconds=settings.fine_tuning.keep_failed_seconds),
        Kept(what="unfinished_uploads", seconds=settings.files.upload_seconds),
        Kept(what="webhook_deliveries", seconds=deliveries.KEPT.total_seconds()),
        Kept(what="ended_sessions", seconds=sessions.KEPT.total_seconds()),
        Kept(what="finished_judging", seconds=work.KEPT.total_seconds()),
    ]


def _storage(settings: Settings) -> StorageState:
    place = settings.files.url or f"file://{settings.data_dir}/blobs"
    return StorageState(kind="s3" if place.startswith("s3://") else "directory", place=without_password(place))


def _single_sign_on(settings: Settings) -> SingleSignOnState:
    url = settings.console.url.rstrip("/")
    issuer = without_password(settings.oidc.issuer) if settings.oidc.issuer else None
    return SingleSignOnState(
        enabled=issuer is not None, issuer=issuer, redirect_url=f"{without_password(url)}{CALLBACK}" if url else None
    )


def _days(days: int) -> float | None:
    return days * 86_400.0 if days else None
