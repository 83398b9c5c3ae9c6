"""Rules after the fact: an answer held against the rules of a judge, in a process that can be ended."""

import msgspec

from gateway.exchanges.checked import RuleSaid
from gateway.protocol.judges import RuleSpec
from gateway.rule_frames import Question, Said
from gateway.rule_processes import RuleProcesses
from judges.llm.opinion import Opinion, failed

SECONDS = 30.0
"""Of CPU time: an answer is not to blame for what else a machine does."""
PATIENCE_SECONDS = 900.0
"""For a turn among others: then it is tried again later."""


async def apply_rules(
    processes: RuleProcesses, spec: RuleSpec, request: bytes, reply: bytes | None, choice: int
) -> Opinion:
    """All rules together: broken where one is, an error where one cannot be applied and none is broken.

    Raises:
        TimeoutError: no process has come to it.
    """
    await processes.ready()
    rules = msgspec.json.encode(spec.rules)
    question = Question(
        rules=rules, request=request, reply=reply or b"", streamed=False, choice=choice, cpu_seconds=SECONDS
    )
    [said] = await processes.ask(question, PATIENCE_SECONDS)
    if said.error_code == "timeout":
        return failed("timeout", f"The rules took longer than {SECONDS:g} s.")
    return _opinion(said)


def _opinion(said: Said) -> Opinion:
    notes = {"rules": [_told(each) for each in said.said]}
    if said.passed is None:
        return Opinion(status="error", error_code="rule", rationale=said.rationale, notes=notes)
    return Opinion(score=said.score, raw_value=said.passed, passed=said.passed, rationale=said.rationale, notes=notes)


def _told(each: RuleSaid) -> dict[str, object]:
    return {"rule": each.rule, "passed": each.passed, "score": each.score, "found": each.found}
