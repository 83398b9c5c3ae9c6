"""Asks the models of a judge, and writes down what they said: each call a part, and one verdict of them all."""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.asking import Asked as Reply
from gateway.asking import NotAsked
from gateway.grading.chat import answer as read_reply
from gateway.grading.chat import speaks_of_structure
from gateway.judging import specs, work
from gateway.judgments import repository as judgments
from gateway.judgments.verdict import Verdict
from gateway.protocol.judges import LlmSpec
from gateway.services import WorkerServices
from gateway.tasks.judging_cases import Case, Part
from judges.ask import AskFailed
from judges.grade import Tokens
from judges.llm.families import kinship
from judges.llm.opinion import ErrorCode, Opinion, failed
from judges.llm.pairwise import ORDERS, reconcile
from judges.llm.panel import combined
from judges.llm.questions import Asked, about_one, about_two
from judges.llm.reading import read

CODES: dict[str, ErrorCode] = {
    "timeout": "timeout",
    "rate_limit": "rate_limit",
    "quota": "quota",
    "upstream": "upstream",
    "refused": "refused",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What one call came to."""

    part: Part
    opinion: Opinion
    judgment_id: str | None = None
    """Where it is written down already."""
    reply: Reply | None = None
    exchange_id: str | None = None
    """The call, in the log."""


@dataclass(slots=True)
class Heard:
    """What all calls of a task came to."""

    told: list[Told] = field(default_factory=list[Told])
    later: NotAsked | None = None
    """Some could not be asked now, and may be later."""
    calls: list[str] = field(default_factory=list[str])
    """All that were made now, whatever came of them: in the log they repeat what is judged."""


def parts_of(case: Case, spec: LlmSpec) -> list[Part]:
    """Every question: each model, and for a comparison both orders."""
    orders = ORDERS if case.criterion.kind == "pairwise" else (None,)
    return [(model, order) for model in (spec.model, *spec.panel) for order in orders]


async def ask_all(wv: WorkerServices, case: Case, spec: LlmSpec) -> Heard:
    """Ask what is not answered yet, one after the other; of several parts each is written down at once, so that whoever dies
    leaves nothing to be paid for again but the call under way.

    On the last try of a task what cannot be asked is an error; before, it is left for later.
    """
    heard = Heard()
    parts = parts_of(case, spec)
    for part in parts:
        try:
            told = await _told(wv, case, spec, part, heard.calls)
        except NotAsked as error:
            heard.later = error
            continue
        if len(parts) > 1 and told.judgment_id is None and told.opinion.is_answer:
            told = await _kept(wv, case, told)
        if told is None:
            break
        heard.told.append(told)
    return heard


async def _told(wv: WorkerServices, case: Case, spec: LlmSpec, part: Part, calls: list[str]) -> Told:
    """Args: calls: those that are made are added. Raises NotAsked: later, perhaps."""
    if part in case.answered:
        id, opinion = case.answered[part]
        return Told(part, opinion, id)
    try:
        return await _ask(wv, case, spec, part, calls)
    except NotAsked as error:
        if error.retry and not case.task.is_last_try:
            raise
        return Told(part, failed(CODES.get(error.code, "upstream"), str(error)), exchange_id=error.exchange_id)


async def _kept(wv: WorkerServices, case: Case, told: Told) -> Told | None:
    """None: the task is another's by now, or was ended; nothing more is asked."""
    async with wv.database.session() as session:
        if not await work.is_ours(session, case.task):
            return None
        [id] = await write_parts(session, case, [told])
    return replace(told, judgment_id=id)


async def _ask(wv: WorkerServices, case: Case, spec: LlmSpec, part: Part, calls: list[str]) -> Told:
    """Raises NotAsked. Args: calls: as of `_told`."""
    asked = _question(case, spec, part)
    reply = await _chat(wv, case, spec, asked, calls)
    try:
        answer = read_reply(reply.body, asked.question, Tokens())
    except AskFailed as error:
        return Told(part, failed("upstream", str(error)), reply=reply, exchange_id=reply.exchange_id)
    opinion = read(asked, answer)
    opinion.notes.update(_kin(case, answer.model, part[0]))
    return Told(part, opinion, reply=reply, exchange_id=reply.exchange_id)


def _question(case: Case, spec: LlmSpec, part: Part) -> Asked:
    model, order = part
    brief = specs.brief_of(spec, case.criterion)
    if order is None:
        return about_one(brief, model, case.answers[0].subject, case.reference if spec.reference else None)
    return about_two(brief, model, case.answers[0].subject, case.answers[1].subject, order)


async def _chat(wv: WorkerServices, case: Case, spec: LlmSpec, asked: Asked, calls: list[str]) -> Reply:
    """Raises NotAsked. Args: calls: as of `_told`."""
    question = asked.question
    body: dict[str, Any] = {"model": question.model, "messages": question.messages, **question.sampling}
    if not spec.structured:
        return await _call(wv, case, body, calls)
    schema = {"name": "verdict", "strict": True, "schema": question.schema}
    structure = {"response_format": {"type": "json_schema", "json_schema": schema}}
    try:
        return await _call(wv, case, body | structure, calls)
    except NotAsked as error:
        if error.code != "refused" or not speaks_of_structure(str(error)):
            raise
    return await _call(wv, case, body, calls)


async def _call(wv: WorkerServices, case: Case, body: dict[str, Any], calls: list[str]) -> Reply:
    """Raises NotAsked. Args: calls: as of `_told`."""
    try:
        reply = await wv.asking.chat(case.judge.project_id, "judge", body)
    except NotAsked as error:
        calls += [error.exchange_id] if error.exchange_id else []
        raise
    calls.append(reply.exchange_id)
    return reply


def _kin(case: Case, answered_by: str, named: str) -> dict[str, Any]:
    """Pitfall: a judge may prefer its own kin; what it was is kept with the verdict."""
    found = [
        {"judge": judge, "candidate": candidate, "relation": relation}
        for candidate in sorted({each.exchange.served_model or "" for each in case.answers} - {""})
        for judge in sorted({answered_by, named})
        if (relation := kinship(judge, candidate))
    ]
    return {"self_preference": found} if found else {}


def _verdict_of(case: Case, spec: LlmSpec, told: list[Told]) -> Opinion:
    """One out of all."""
    by_part = {each.part: each.opinion for each in told}
    criterion = specs.judged_by(case.criterion)
    members = [_of_model(case, model, by_part) for model in (spec.model, *spec.panel)]
    return members[0] if len(members) == 1 else combined(criterion, members, spec.combine)


def _of_model(case: Case, model: str, by_part: dict[Part, Opinion]) -> Opinion:
    if case.criterion.kind != "pairwise":
        return by_part[model, None]
    return reconcile(by_part[model, "ab"], by_part[model, "ba"])


async def write_parts(session: AsyncSession, case: Case, told: list[Told]) -> list[str]:
    """What each call said, as judgments of their own, so that no call has to be made twice; their ids."""
    new = [each for each in told if each.judgment_id is None]
    written = await judgments.add(session, [_part(case, each) for each in new])
    ids = dict(zip((each.part for each in new), written, strict=True))
    return [each.judgment_id or ids[each.part] for each in told]


def _part(case: Case, each: Told) -> Verdict:
    model, order = each.part
    return case.verdict(
        each.opinion, "llm", identifier=model, order_shown=order, pair_group_id=case.task.id, **_of_call(each)
    )


def _of_call(each: Told) -> dict[str, Any]:
    columns: dict[str, Any] = {"judge_exchange_id": each.exchange_id}
    if each.reply is not None:
        columns |= {"latency_ms": each.reply.duration_ms, "cost_nano": each.reply.cost_nano}
    return columns


def whole(case: Case, spec: LlmSpec, told: list[Told], ids: list[str]) -> Verdict:
    """The verdict of the judge: of a single call it carries the call, of several it names the parts."""
    opinion = _verdict_of(case, spec, told)
    if len(told) == 1:
        return case.verdict(opinion, "llm", **_of_call(told[0]))
    return case.verdict(opinion, "llm", pair_group_id=case.task.id, derived_from=ids)
