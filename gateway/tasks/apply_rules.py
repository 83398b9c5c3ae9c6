"""Rules after the fact: an answer held against the rules of a judge, in a thread of its own."""

from functools import partial

from gateway.kit.cpu_time import in_cpu_time
from gateway.protocol.judges import RuleSpec
from judges.llm.opinion import Opinion
from judges.rules.run import RuleVerdict, check, overall
from judges.subject import Subject

SECONDS = 30.0
"""Of CPU time: an answer is not to blame for what else a machine does."""
LONGEST_REASON = 2000


async def apply_rules(spec: RuleSpec, subject: Subject) -> Opinion:
    """All rules together: broken where one is, an error where one cannot be applied and none is broken."""
    try:
        verdicts = await in_cpu_time(partial(check, spec.rules, subject), SECONDS)
    except TimeoutError:
        return Opinion(status="error", error_code="timeout", rationale=f"The rules took longer than {SECONDS:g} s.")
    found = overall(verdicts)
    rationale = found.rationale[:LONGEST_REASON].replace("\x00", "\ufffd").encode(errors="replace").decode()
    notes = {"rules": [_told(each) for each in verdicts]}
    if found.passed is None:
        return Opinion(status="error", error_code="rule", rationale=rationale, notes=notes)
    return Opinion(score=found.score, raw_value=found.passed, passed=found.passed, rationale=rationale, notes=notes)


def _told(each: RuleVerdict) -> dict[str, object]:
    return {"rule": each.rule, "passed": each.passed, "score": each.score, "found": each.found}
