"""POST /v1/rules/try (an extension): rules held against one answer. Nothing is written down."""

from collections.abc import Sequence

import msgspec
from litestar import post
from litestar.params import RawBody

from gateway.db.large_bodies import fill
from gateway.db.tables import ExchangeRow
from gateway.errors import ECHO_LIMIT, InvalidRequest, NotFound
from gateway.exchanges import repository as exchanges
from gateway.exchanges.checked import CheckSaid
from gateway.exchanges.subjects import subject
from gateway.inline_rules import Case
from gateway.keys.ring import ApiKey
from gateway.protocol.decode import decode
from gateway.protocol.routes import Check
from gateway.protocol.rule_trials import RuleTrial, RuleTrialRequest, TriedRule
from gateway.routes.callers import Caller, Sv
from gateway.services import Services
from judges.rules.written import AnyRule, problems, type_of

LONGEST = 100_000
"""Characters of the question and the answer together."""
PATIENCE_MS = 10_000
"""For all rules: a person waits."""

decode_trial = msgspec.json.Decoder(RuleTrialRequest)
encode = msgspec.json.encode


@post("/v1/rules/try", status_code=200)
async def try_rules(sv: Sv, caller: Caller, body: RawBody) -> RuleTrial:
    """In a process of its own, so that a costly rule keeps no answer waiting that is on its way.

    Raises:
        InvalidRequest: a rule makes no sense, the text is too long, or the call's body was not kept.
        NotFound: there is no such exchange.
    """
    wanted = decode(decode_trial, body)
    for path, why in problems(wanted.rules):
        raise InvalidRequest(f"Invalid '{path}': {why}", param=path)
    request, reply = await _bodies(sv, caller, wanted)
    checks = [_check(place, rule) for place, rule in enumerate(wanted.rules)]
    found = await sv.rule_trials.check(Case("trial", checks, request), reply)
    said = {each.check: each for each in reversed(found.verdicts)}  # of an answer with several choices, the first
    return trial([_told(rule, said[str(place)]) for place, rule in enumerate(wanted.rules)])


def trial(rules: Sequence[TriedRule]) -> RuleTrial:
    """All rules together, as judges/rules/run.py has it."""
    scores = [each.score for each in rules if each.score is not None]
    verdicts = [each.passed for each in rules]
    passed = False if False in verdicts else None if None in verdicts else True
    return RuleTrial(passed=passed, score=sum(scores) / len(scores) if scores else None, rules=list(rules))


async def _bodies(sv: Services, caller: ApiKey, wanted: RuleTrialRequest) -> tuple[bytes, bytes]:
    """A call and its reply. Raises InvalidRequest, NotFound."""
    if (wanted.answer is None) == (wanted.exchange_id is None):
        raise InvalidRequest("Give either 'answer' or 'exchange_id'.", param="answer")
    if wanted.exchange_id is not None:
        return await _logged(sv, caller, wanted.exchange_id)
    if len(wanted.answer or "") + len(wanted.question) > LONGEST:
        raise InvalidRequest(f"Invalid 'answer': at most {LONGEST:,} characters, with the question.", param="answer")
    asked = [{"role": "user", "content": wanted.question}] if wanted.question else []
    answered = [{"index": 0, "message": {"role": "assistant", "content": wanted.answer}}]
    return encode({"messages": asked}), encode({"choices": answered})


async def _logged(sv: Services, caller: ApiKey, id: str) -> tuple[bytes, bytes]:
    """Raises InvalidRequest, NotFound."""
    row = await _find(sv, caller.project_id, id)
    if row is None:
        raise NotFound(f"No exchange with id '{id[:ECHO_LIMIT]}' is in the log (yet).", param="exchange_id")
    if row.reply is None or subject(row.request, row.reply) is None:
        raise InvalidRequest(
            "Invalid 'exchange_id': it has no answer that can be read: the call failed, or its texts are not kept.",
            param="exchange_id",
        )
    return row.request, row.reply


async def _find(sv: Services, project_id: str, id: str) -> ExchangeRow | None:
    async with sv.database.session() as session:
        found = await exchanges.find(session, project_id, id)
        found = found or await exchanges.find_by_reply(session, project_id, id)
        await fill(session, found)
        return found


def _check(place: int, rule: AnyRule) -> Check:
    return Check(name=str(place), rules=(msgspec.to_builtins(rule),), timeout_ms=PATIENCE_MS)


def _told(rule: AnyRule, said: CheckSaid) -> TriedRule:
    name, found = type_of(rule), said.said[0].found if said.said else {}
    return TriedRule(
        rule=name,
        passed=said.passed,
        score=said.score,
        rationale=(said.rationale or "").removeprefix(f"{name}: ") if not said.passed else None,
        error_code=said.error_code,
        found=found,
    )
