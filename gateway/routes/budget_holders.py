"""/v1/budgets/holders (an extension): who holds parts of budgets, and the end of those that never give back."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from litestar import get, post
from litestar.params import FromPath, QueryParams
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.budgets import holders
from gateway.budgets.endings import end_leases
from gateway.budgets.holders import Lease
from gateway.db.tables import BudgetHolderRow, FineTuningJobRow
from gateway.errors import Conflict, NotFound
from gateway.exchanges.spool import DIRECTORY
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.clock import now, unix
from gateway.kit.money import usd_from_nano
from gateway.protocol.budgets import BudgetHolder, BudgetLease
from gateway.protocol.lists import CursorList
from gateway.protocol.pages import page_of
from gateway.protocol.queries import cursor
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

JOB = "ftjob-"
UNKNOWN = datetime.min.replace(tzinfo=UTC)


@get("/v1/budgets/holders")
async def list_holders(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """Oldest first: gateway processes that have leased something, and jobs that something is set aside for."""
    async with sv.database.session() as session:
        every = await _holders(session)
    return page_of(every, cursor(query, order="asc"))


@get("/v1/budgets/holders/{holder_id:str}")
async def retrieve_holder(sv: Sv, admin: Admin, holder_id: FromPath[str]) -> BudgetHolder:
    async with sv.database.session() as session:
        return await _holder(session, holder_id)


@post("/v1/budgets/holders/{holder_id:str}/release", status_code=200)
async def release_holder(sv: Sv, admin: Admin, holder_id: FromPath[str]) -> BudgetHolder:
    """End the leases of one that is dead and whose disk is lost; what it was until then. What it spent and did not bring
    to the ledger is in no bill. One that may be alive, or whose disk may come back by itself, is refused."""
    async with sv.database.session() as session:
        found = await _holder(session, holder_id)
        if found.kind == "fine_tuning_job":
            await _release_job(session, holder_id)
        else:
            _check_spool(sv, holder_id)
            await holders.release(session, holder_id)
        _tell(session, admin, sv, found)
    return found


async def _release_job(session: AsyncSession, job_id: str) -> None:
    """Of one that has ended, but nobody settles what it trained: its directory is lost. Raises Conflict."""
    job = await session.get(FineTuningJobRow, job_id, with_for_update=True)
    if job is not None and (job.status not in ENDED or job.finished_at is None):
        raise Conflict(
            f"{job_id} is {job.status}: it gives back what it does not need once it has ended, or is paused. Cancel it"
            f" where it never will: POST /v1/fine_tuning/jobs/{job_id}/cancel.",
            headers=holders.FINAL,
        )
    if job is not None and max(job.finished_at or now(), job.leased_until or job.created_at) > now() - holders.QUIET:
        raise Conflict(
            f"{job_id} has just ended, and a worker settles what it trained; try again in"
            f" {int(holders.QUIET.total_seconds())} s.",
            headers=holders.FINAL,
        )
    await end_leases(session, job_id)


def _check_spool(sv: Services, holder_id: str) -> None:
    """Raises Conflict: what it spent is here, and will be adopted."""
    if (sv.settings.data_dir / DIRECTORY / holder_id).exists():
        raise Conflict(
            f"The spool of {holder_id} is on this machine: it runs here, or what it spent is brought to the ledger and its"
            " leases end by themselves within seconds.",
            headers=holders.FINAL,
        )


def _tell(session: AsyncSession, admin: Administrator, sv: Services, holder: BudgetHolder) -> None:
    budgets = {lease.budget_id: lease.unspent_usd for lease in holder.leases if lease.unspent_usd}
    told = {"id": holder.id, "released": True, "unspent_usd": holder.unspent_usd, "budgets": budgets}
    owner = audit.owner_of(sv.settings.organization, None)
    audit.write_change(session, admin.actor, owner, holder.id, {"budget_holder": told})


async def _holder(session: AsyncSession, holder_id: str) -> BudgetHolder:
    """Raises NotFound."""
    found = await _holders(session, holder_id) if holder_id else []
    if not found:
        raise NotFound(f"Nobody with the id '{holder_id}' holds a part of a budget.", param="holder_id")
    return found[0]


async def _holders(session: AsyncSession, holder_id: str | None = None) -> list[BudgetHolder]:
    """Oldest first; of all, or of one."""
    rows, leases = await holders.processes(session, holder_id), await holders.leases(session, holder_id)
    born = await _created(session, [id for id in leases if id.startswith(JOB)])
    born |= {id: row.created_at for id, row in rows.items()}
    ids = sorted({*rows, *leases}, key=lambda id: (born.get(id, UNKNOWN), id))
    return [_object(id, born.get(id), rows, leases.get(id, ())) for id in ids]


async def _created(session: AsyncSession, job_ids: Sequence[str]) -> dict[str, datetime]:
    job = FineTuningJobRow
    found = await session.execute(select(job.id, job.created_at).where(job.id.in_(job_ids)))
    return {row.id: row.created_at for row in found}


def _object(
    id: str, born: datetime | None, rows: Mapping[str, BudgetHolderRow], leases: Sequence[Lease]
) -> BudgetHolder:
    row = rows.get(id)
    return BudgetHolder(
        id=id,
        kind="fine_tuning_job" if id.startswith(JOB) else "gateway",
        host=row.host or None if row else None,
        created_at=unix(born) if born else None,
        seen_at=unix(row.seen_at) if row else None,
        silent_seconds=max(int((now() - row.seen_at) / timedelta(seconds=1)), 0) if row else None,
        unspent_usd=usd_from_nano(sum(lease.unspent for lease in leases)),
        leases=[_lease(lease) for lease in leases],
    )


def _lease(lease: Lease) -> BudgetLease:
    return BudgetLease(
        budget_id=lease.budget_id,
        window_starts_at=unix(lease.starts_at),
        window_ends_at=unix(lease.ends_at) if lease.ends_at else None,
        granted_usd=usd_from_nano(lease.granted),
        spent_usd=usd_from_nano(lease.spent),
        unspent_usd=usd_from_nano(lease.unspent),
    )
