"""Rules as they are written down: read, and looked at for mistakes. judges/rules/run.py applies them; it takes longer to
import, and whoever only stores rules does without."""

from collections.abc import Sequence

import msgspec

from judges.rules.behaviour import PersonalData, Refusal, Repetition, Secrets
from judges.rules.formats import Json, JsonSchema, Language, Length, Regex
from judges.rules.sources import CitationsInContext, Groundedness, MustCite
from judges.rules.tools import TextGrader, ToolCalls

AnyRule = (
    Json
    | JsonSchema
    | Regex
    | Length
    | Language
    | MustCite
    | CitationsInContext
    | Groundedness
    | Refusal
    | Repetition
    | PersonalData
    | Secrets
    | ToolCalls
    | TextGrader
)
"""Every rule, told apart by `type`."""
MAX_RULES = 30


def type_of(rule: AnyRule) -> str:
    return str(rule.__struct_config__.tag)


def problems(rules: Sequence[AnyRule], path: str = "rules") -> list[tuple[str, str]]:
    """What is wrong with the parameters of rules: a JSON path and a sentence each."""
    if not 1 <= len(rules) <= MAX_RULES:
        return [(path, f"1 to {MAX_RULES} rules, not {len(rules)}.")]
    found: list[tuple[str, str]] = []
    for place, rule in enumerate(rules):
        for problem in rule.problems():
            name, _, why = problem.partition(": ")
            found.append((f"{path}[{place}].{name}", why))
    return found


decode = msgspec.json.Decoder(list[AnyRule]).decode
"""Rules out of JSON. Raises msgspec.ValidationError, which names the path."""
