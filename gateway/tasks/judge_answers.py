"""Lets judges judge what is due. Every task ends in a judgment, a verdict or an error, whatever happens to this process."""

import asyncio
import logging
from secrets import token_hex

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.asking import NotAsked
from gateway.errors import Refusal, Unavailable
from gateway.exchanges import erasure
from gateway.judging import specs, work
from gateway.judging.work import Claim
from gateway.judgments import repository as judgments
from gateway.judgments.verdict import Source
from gateway.protocol.judges import LlmSpec, RuleSpec, Spec
from gateway.services import WorkerServices
from gateway.tasks import ask_judges
from gateway.tasks.apply_rules import apply_rules
from gateway.tasks.ask_judges import Heard
from gateway.tasks.judging_cases import Case, load, load_unread
from judges.llm.opinion import Opinion, failed

log = logging.getLogger(__name__)

DIED = failed(
    "timeout", f"It was begun {work.MAX_TRIES} times, and each time the worker ended before the judge answered."
)
NO_REFERENCE = Opinion(status="abstained", rationale="There is no correction and no `reference` to compare with.")


class Judging:
    """A worker's: what it judges now, at most [worker] judges at a time."""

    def __init__(self, wv: WorkerServices, *, lease_seconds: float = work.LEASE_SECONDS) -> None:
        self._wv = wv
        self._holder = f"judging-{token_hex(8)}"
        self._lease_seconds = lease_seconds
        self._under_way: set[str] = set()

    async def begin(self) -> None:
        """Start what is due and wait for none of it. Raises Unavailable; the next round goes on."""
        free = self._wv.settings.worker.judges - len(self._under_way)
        if free > 0:
            for each in await self._claim(free):
                self._wv.background.spawn(self._lane(each), f"judge {each.id}")

    async def renew(self) -> None:
        """Keep what is under way. Raises Unavailable; a lease outlives several rounds."""
        if self._under_way:
            async with self._wv.database.session() as session:
                await work.renew(session, self._holder, list(self._under_way), self._lease_seconds)

    async def remove_old(self) -> None:
        """Raises Unavailable."""
        async with self._wv.database.session() as session:
            await work.remove_old(session)

    async def _claim(self, most: int) -> list[Claim]:
        async with self._wv.database.session() as session:
            claimed = await work.claim(session, self._holder, most, self._lease_seconds)
        self._under_way |= {each.id for each in claimed}
        return claimed

    async def _lane(self, first: Claim) -> None:
        """One task after the other, until none is due."""
        claimed = [first]
        try:
            while claimed:
                try:
                    await judge(self._wv, claimed[0])
                finally:
                    self._under_way.discard(claimed[0].id)
                claimed = await self._claim(1)
        except Unavailable as away:
            log.warning("judging pauses; what was begun is tried again: %s", away)


async def judge(wv: WorkerServices, task: Claim) -> None:
    """Judge one. What goes wrong in a way that nobody thought of is tried again, and in the end an error.

    Raises Unavailable.
    """
    case = None
    try:
        if (case := await _case(wv, task)) is not None:
            await _judge(wv, case)
    except Unavailable:
        raise
    except (Exception, asyncio.CancelledError) as error:
        await _gave_up(wv, task, case, error)
        if isinstance(error, asyncio.CancelledError):
            raise


async def _case(wv: WorkerServices, task: Claim) -> Case | None:
    """None: there is nothing to judge any more, and the task is done."""
    async with wv.database.session() as session:
        case = await (load_unread if _has_died(task) else load)(session, task)
        if case is None:
            await work.finish(session, task)
        return case


def _has_died(task: Claim) -> bool:
    """Whether each try has ended its worker: so might the next, already when it reads what is judged."""
    return task.tries > work.MAX_TRIES


async def _judge(wv: WorkerServices, case: Case) -> None:
    spec = specs.read(case.version.spec)
    if (known := _without_asking(case, spec)) is not None:
        await _write(wv, case, known)
        return
    if isinstance(spec, RuleSpec):
        shown = case.answers[0].exchange
        said = await apply_rules(wv.rules, spec, shown.request, shown.reply, case.task.choice_index)
        await _write(wv, case, said)
        return
    heard = await ask_judges.ask_all(wv, case, spec)
    if heard.later is not None:
        await _postpone(wv, case, heard, heard.later)
    else:
        await _write_whole(wv, case, spec, heard)


def _without_asking(case: Case, spec: Spec) -> Opinion | None:
    """What there is to say before anybody is asked."""
    if _has_died(case.task):
        return DIED
    if case.problem is not None:
        return case.problem
    return NO_REFERENCE if isinstance(spec, LlmSpec) and spec.reference and case.reference is None else None


async def _write(wv: WorkerServices, case: Case, opinion: Opinion) -> None:
    """The task's one judgment."""
    source: Source = "rule" if case.judge.kind == "rule" else "llm"
    async with wv.database.session() as session:
        if await work.finish(session, case.task):
            await judgments.add(session, [case.verdict(opinion, source, tags=_tags(opinion))])


def _tags(opinion: Opinion) -> list[str]:
    """The rules that were broken, to be counted by."""
    return sorted({each["rule"] for each in opinion.notes.get("rules", ()) if each["passed"] is False})


async def _write_whole(wv: WorkerServices, case: Case, spec: LlmSpec, heard: Heard) -> None:
    async with wv.database.session() as session:
        if await work.finish(session, case.task):
            ids = await ask_judges.write_parts(session, case, heard.told) if len(heard.told) > 1 else []
            await judgments.add(session, [ask_judges.whole(case, spec, heard.told, ids)])
        unnamed = await _erase_unnamed(session, case, heard.calls)
    await erasure.erase_late(wv.database, case.task.project_id, unnamed, case.judge.id)


async def _postpone(wv: WorkerServices, case: Case, heard: Heard, later: NotAsked) -> None:
    """What was answered is kept, the rest is asked for later."""
    async with wv.database.session() as session:
        await work.postpone(session, case.task, later.retry_after)
        unnamed = await _erase_unnamed(session, case, heard.calls)
    await erasure.erase_late(wv.database, case.task.project_id, unnamed, case.judge.id)


async def _erase_unnamed(session: AsyncSession, case: Case, calls: list[str]) -> list[str]:
    """What the judge was asked in calls that no judgment names (the answer was erased meanwhile, the task was another's, the
    call failed): nobody would find it when the answer is erased, which it repeats. Their ids."""
    named = await judgments.calls_named(session, case.task.project_id, case.task.exchange_id)
    if unnamed := sorted(set(calls) - named):
        await erasure.erase(session, case.task.project_id, unnamed, case.judge.id)
    return unnamed


async def _gave_up(wv: WorkerServices, task: Claim, case: Case | None, error: BaseException) -> None:
    """A worker that stops leaves its task to the next at once; a surprise is tried again, and at last written down."""
    if isinstance(error, asyncio.CancelledError):
        async with wv.database.session() as session:
            await work.give_back(session, task)
        return
    log.exception("judging %s failed", task.id, exc_info=error)
    if task.is_last_try:
        why = str(error) if isinstance(error, Refusal) else "A fault of the worker."
        await _end(wv, task, case, failed("upstream", why))
        return
    async with wv.database.session() as session:
        await work.postpone(session, task)


async def _end(wv: WorkerServices, task: Claim, case: Case | None, last_word: Opinion) -> None:
    """Done, with a last word where one can be written: a task that failed here, too, would be begun for ever."""
    try:
        if case is None:
            async with wv.database.session() as session:
                case = await load_unread(session, task)
        if case is not None:
            await _write(wv, case, last_word)
            return
    except Unavailable:
        raise
    except Exception as error:
        log.exception("what became of judging %s cannot be written down", task.id, exc_info=error)
    async with wv.database.session() as session:
        await work.finish(session, task)
