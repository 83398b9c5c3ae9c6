"""Does the runs of evals: takes one, reads its data, has every item answered and graded, and measures the whole.

A run is leased in PostgreSQL (gateway/evals/claims.py) and every item's outcome is written at once, so that a worker that
dies loses the calls that were under way and nothing else: another one goes on with the items that are not done.
"""

import asyncio
import logging
import secrets
from collections import deque
from typing import Any

import msgspec

from gateway.datasets.isolated import fill, path_of, temporary
from gateway.db.tables import CriterionRow, EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.errors import InvalidRequest, Surprise, Unavailable
from gateway.evals import claims, criteria, data_sources, reports, tallies
from gateway.evals.data_sources import DIRECTORY
from gateway.evals.figures import RunFigures, RunMetrics
from gateway.files.service import one_piece
from gateway.fine_tuning.lease import to_its_end
from gateway.protocol.evals import JsonlSource
from gateway.services import WorkerServices
from gateway.tasks.answer_eval_items import Answering, Plan
from gateway.tasks.eval_calls import FIRST_WAIT
from gateway.tasks.eval_sources import Held, RunFailed, RunLost, read_source
from gateway.tasks.finish_eval_items import Finishing, criteria_of

log = logging.getLogger(__name__)

RUNS_AT_ONCE = 4
"""In one worker; they share its places for calls."""
LEASE_SECONDS = 30.0
POLL_SECONDS = 0.5
"""How often a lease is extended, and so how soon a cancel is noticed."""
PAGE = 50


class EvalRuns:
    """A worker's: the runs that it does now."""

    def __init__(
        self,
        wv: WorkerServices,
        *,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        self._wv = wv
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._first_wait = first_wait
        self._places = asyncio.Semaphore(wv.settings.worker.eval_calls)
        self._under_way = 0

    async def begin(self) -> None:
        """Take up what waits, and wait for none of it. Raises Unavailable; the next round goes on."""
        while self._under_way < RUNS_AT_ONCE:
            holder = secrets.token_hex(8)
            async with self._wv.database.session() as session:
                run_id = await claims.claim(session, holder, self._lease_seconds)
            if run_id is None:
                return
            self._under_way += 1
            self._wv.background.spawn(self._do(run_id, holder), f"eval run {run_id}")

    async def _do(self, run_id: str, holder: str) -> None:
        """Until it has ended, or is not ours any more."""
        work = asyncio.ensure_future(self._work(run_id, holder))
        keeping = asyncio.ensure_future(self._keep(run_id, holder))
        try:
            await asyncio.wait({work, keeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (work, keeping):
                each.cancel()
            await asyncio.gather(work, keeping, return_exceptions=True)
            self._under_way -= 1
            await to_its_end(self._release(run_id, holder))

    async def _keep(self, run_id: str, holder: str) -> None:
        """Extend the lease; returns when it is lost."""
        clock = asyncio.get_running_loop().time
        runs_out = clock() + self._lease_seconds
        while clock() < runs_out:
            await asyncio.sleep(self._poll_seconds)
            asked = clock()
            try:
                if not await to_its_end(self._extended(run_id, holder)):
                    return
                runs_out = asked + self._lease_seconds
            except Unavailable:
                log.warning("the lease of %s cannot be extended right now", run_id)

    async def _extended(self, run_id: str, holder: str) -> bool:
        async with self._wv.database.session() as session:
            return await claims.extend(session, run_id, holder, self._lease_seconds)

    async def _release(self, run_id: str, holder: str) -> None:
        try:
            async with self._wv.database.session() as session:
                await claims.release(session, run_id, holder)
        except Unavailable:
            log.warning("the lease of %s runs out on its own: the database is away", run_id)

    async def _work(self, run_id: str, holder: str) -> None:
        try:
            await self._run(run_id, holder)
        except RunLost:
            return
        except Unavailable as away:
            log.warning("eval run %s waits: %s", run_id, away)
        except RunFailed as failure:
            await to_its_end(self._fail(run_id, holder, failure))
        except Exception:
            log.exception("eval run %s broke", run_id)
            failure = RunFailed("server_error", "The run failed due to an internal error; create it again.")
            await to_its_end(self._fail(run_id, holder, failure))

    async def _run(self, run_id: str, holder: str) -> None:
        held = await to_its_end(self._held(run_id, holder))
        if held.run.total is None:
            await to_its_end(read_source(self._wv, held))
        plan = plan_of(held.of, held.run)
        answering = Answering(self._wv, plan, self._places, first_wait=self._first_wait)
        finishing = Finishing(self._wv, held, answering, await to_its_end(self._criteria(held, plan)))
        await _Lanes(self._wv, held, answering, finishing).work(self._wv.settings.worker.eval_calls)
        await to_its_end(self._complete(held))

    async def _held(self, run_id: str, holder: str) -> Held:
        async with self._wv.database.session() as session:
            run = await session.get_one(EvalRunRow, run_id)
            of = await session.get_one(EvalRow, run.eval_id)
        return Held(of, run, holder, self._lease_seconds)

    async def _criteria(self, held: Held, plan: Plan) -> dict[str, CriterionRow]:
        async with self._wv.database.session() as session:
            return await criteria_of(session, held, plan.criteria)

    async def _complete(self, held: Held) -> None:
        async with self._wv.database.session() as session:
            figures = await reports.figures_of(session, held.of, held.run)
            tally = await tallies.tally(session, held.run.id)
        metrics = await self._measured(figures)
        result = tallies.stored(tally) | {"metrics": metrics}
        async with self._wv.database.session() as session:
            await claims.finish(session, held.run.id, held.holder, "completed", result=result)

    async def _measured(self, figures: RunFigures) -> dict[str, Any] | None:
        """None when it takes more memory or time than is given to it: the items and their counts are there."""
        with temporary(self._wv.settings.data_dir / DIRECTORY) as file:
            await fill(file, one_piece(msgspec.json.encode(figures)))
            try:
                found = await self._wv.evals.run(["measure", path_of(file)], [file])
            except (InvalidRequest, Surprise) as error:
                log.error("the metrics of a run could not be made: %s", error)
                return None
        return msgspec.to_builtins(msgspec.json.decode(found, type=RunMetrics))

    async def _fail(self, run_id: str, holder: str, failure: RunFailed) -> None:
        try:
            async with self._wv.database.session() as session:
                result = tallies.stored(await tallies.tally(session, run_id)) | {"metrics": None}
                error = {"code": failure.code, "message": str(failure)}
                await claims.finish(session, run_id, holder, "failed", result=result, error=error)
        except Unavailable:
            log.warning("eval run %s is not failed yet: the database is away", run_id)


def plan_of(of: EvalRow, run: EvalRunRow) -> Plan:
    source = data_sources.read(run.data_source)
    known, metrics = criteria.read(of.testing_criteria), reports.metrics_of(of)
    return Plan(
        project_id=run.project_id,
        criteria=known,
        asking=None if isinstance(source, JsonlSource) or source.model is None else source,
        reference=criteria.reference(known, metrics),
        log_probabilities=metrics.log_probabilities,
    )


class _Lanes:
    """The items of one run, several at a time."""

    def __init__(self, wv: WorkerServices, held: Held, answering: Answering, finishing: Finishing) -> None:
        self._wv = wv
        self._held = held
        self._answering = answering
        self._finishing = finishing
        self._waiting: deque[EvalOutputItemRow] = deque()
        self._after = (-1, -1)
        self._reading = asyncio.Lock()

    async def work(self, count: int) -> None:
        """Until no item waits. Raises RunFailed, RunLost, Unavailable: the first that one of them meets."""
        try:
            async with asyncio.TaskGroup() as lanes:
                for _ in range(count):
                    lanes.create_task(self._lane())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _lane(self) -> None:
        while (row := await self._next()) is not None:
            outcome = await self._answering.outcome(row)
            await to_its_end(self._finishing.finish(row, outcome))

    async def _next(self) -> EvalOutputItemRow | None:
        async with self._reading:
            if not self._waiting:
                self._waiting.extend(await to_its_end(self._page()))
            if not self._waiting:
                return None
            row = self._waiting.popleft()
            self._after = (row.number, row.repeat)
            return row

    async def _page(self) -> list[EvalOutputItemRow]:
        async with self._wv.database.session() as session:
            return await claims.waiting_items(session, self._held.run.id, self._after, PAGE)
