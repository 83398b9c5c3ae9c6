"""What a judge said, as an opinion.

There is a verdict when the reply holds exactly one JSON object with a result, it carries the key of this call, and it is
of the asked form. Everything else is an error with a code; nothing is mended or guessed (judges/verdicts.py).
"""

from typing import Any

from judges.ask import Answer
from judges.grade import GraderFailed
from judges.llm.injection import markers
from judges.llm.opinion import SWAPPED, Opinion, Preference, failed
from judges.llm.questions import LONGEST_REASON, Asked
from judges.verdicts import Spoken, looks_like_verdict, results_in

FIELDS = {"key", "reason", "result"}
ECHO_LIMIT = 200
_PREFERENCES: dict[str, Preference] = {"first": "a", "second": "b", "tie": "tie", "both_bad": "both_bad"}


def read(asked: Asked, answer: Answer) -> Opinion:
    """The opinion in what a judge said."""
    if answer.refusal or answer.finish_reason == "content_filter":
        return failed("refusal", _plain(f"The judge refused: {answer.refusal or 'its answer was filtered'}"))
    spoken = Spoken(answer.text, asked.key, asked.shown)
    try:
        found = results_in(spoken)
    except GraderFailed as error:
        return failed("parse", _sentence(str(error), answer))
    suspected = any(looks_like_verdict(text, answer.text) for text in asked.shown)
    if not found:
        why = "There is no verdict in what the judge said"
        return failed("injection_suspected" if suspected else "parse", _sentence(why, answer))
    if any(each.get("key") != asked.key for each in found):
        why = "A verdict of the judge does not carry the key of this call"
        return failed("injection_suspected" if suspected or len(found) > 1 else "schema", _sentence(why, answer))
    if len(found) > 1:
        return failed("parse", _sentence("The judge gave more than one verdict", answer))
    return _checked(asked, found[0], answer)


def _checked(asked: Asked, verdict: dict[str, Any], answer: Answer) -> Opinion:
    reason, value = verdict.get("reason", ""), verdict["result"]
    if not isinstance(reason, str) or set(verdict) - FIELDS:
        return failed("schema", _sentence("The verdict has not the fields that were asked for", answer))
    if not asked.criterion.allows(value):
        return failed("schema", _sentence(f"{str(value)[:50]!r} is no value of `{asked.criterion.name}`", answer))
    return _opinion(asked, value, _plain(reason))


def _opinion(asked: Asked, value: Any, reason: str) -> Opinion:
    criterion = asked.criterion
    suspicious = markers(asked.shown)
    return Opinion(
        score=criterion.score(value),
        raw_value=value,
        label=value if criterion.kind == "categorical" else None,
        passed=criterion.passes(value),
        preference=_preference(asked, value) if criterion.kind == "pairwise" else None,
        rationale=reason or None,
        notes={"injection_markers": suspicious} if suspicious else {},
    )


def _plain(text: str) -> str:
    """Without what no database holds: NUL, and halves of characters that JSON can spell."""
    return text[:LONGEST_REASON].replace("\x00", "\ufffd").encode(errors="replace").decode()


def _preference(asked: Asked, value: str) -> Preference:
    shown = _PREFERENCES[value]
    return SWAPPED.get(shown, shown) if asked.order == "ba" else shown


def _sentence(why: str, answer: Answer) -> str:
    cut = " (cut off at its limit of tokens)" if answer.finish_reason == "length" else ""
    said = f" It said {answer.text[:ECHO_LIMIT]!r}." if answer.text.strip() else ""
    return f"{why}{cut}.{said}"
