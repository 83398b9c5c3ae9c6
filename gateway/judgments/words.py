"""What people and other systems say, as verdicts: POST /v1/feedback and POST /v1/judgments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CriterionRow
from gateway.errors import InvalidRequest, MissingParameter
from gateway.judgments import criteria
from gateway.judgments.values import TEXT_LENGTH, Columns, checked_number, measured
from gateway.judgments.verdict import Preference, Source, Verdict
from gateway.protocol.feedback import FeedbackCreate
from gateway.protocol.judgments import JudgmentCreate
from gateway.protocol.metadata import check_metadata

MOST_TAGS = 20
TAG_LENGTH = 64
IDENTIFIER_LENGTH = 200
MOST_VALUES = 50
LAST_CHOICE = 127
"""OpenAI's `n` is at most 128."""
STRENGTHS = (1, 2, 3)
BY_WORKERS = ("rule", "llm")
ERROR_CODE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose word it is."""

    project_id: str
    annotator_id: str
    end_user: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What it is about, by the ids of exchanges."""

    exchange_id: str
    choice_index: int = 0
    other_exchange_id: str | None = None
    other_choice_index: int | None = None


def check_feedback(wanted: FeedbackCreate) -> None:
    """Whatever can be said without the database. Raises InvalidRequest."""
    check_words(wanted.tags, wanted.identifier, wanted.metadata)
    _check_pair(wanted, wanted.completion_id, needed=wanted.preference is not None, param="completion_id")
    if (wanted.criterion is None) is not (wanted.value is None):
        raise MissingParameter("value" if wanted.value is None else "criterion")
    if wanted.values is not None and len(wanted.values) > MOST_VALUES:
        raise InvalidRequest(f"Invalid 'values': at most {MOST_VALUES} at once.", param="values")
    if wanted.other_id is not None and wanted.preference is None:
        raise MissingParameter("preference")
    if wanted.strength is not None and wanted.preference is None:
        raise InvalidRequest("Invalid 'strength': it is a preference's.", param="strength")
    said = (wanted.thumbs, wanted.rating, wanted.criterion, wanted.comment, wanted.correction, wanted.preference)
    if not any(each is not None for each in said) and not wanted.values and not wanted.tags:
        raise InvalidRequest(
            "The feedback says nothing. Give one or more of 'thumbs', 'rating', 'criterion' with 'value', 'values', "
            "'tags', 'comment', 'correction' and 'preference'."
        )


def check_words(tags: Sequence[str] | None, identifier: str | None, metadata: dict[str, str] | None) -> None:
    """Raises InvalidRequest."""
    if tags is not None and (len(tags) > MOST_TAGS or not all(1 <= len(tag) <= TAG_LENGTH for tag in tags)):
        raise InvalidRequest(f"Invalid 'tags': at most {MOST_TAGS} of 1 to {TAG_LENGTH} characters each.", param="tags")
    if identifier is not None and len(identifier) > IDENTIFIER_LENGTH:
        raise InvalidRequest(f"Invalid 'identifier': at most {IDENTIFIER_LENGTH} characters.", param="identifier")
    check_metadata(metadata)


def _check_pair(wanted: FeedbackCreate | JudgmentCreate, first: str, *, needed: bool, param: str) -> None:
    for name in ("choice_index", "other_choice_index"):
        if not 0 <= getattr(wanted, name) <= LAST_CHOICE:
            raise InvalidRequest(f"Invalid '{name}': a number from 0 to {LAST_CHOICE}.", param=name)
    if wanted.strength is not None and wanted.strength not in STRENGTHS:
        raise InvalidRequest("Invalid 'strength': 1 (slightly), 2 or 3 (much).", param="strength")
    if needed and wanted.other_id is None:
        raise MissingParameter("other_id")
    if wanted.other_id == first and wanted.other_choice_index == wanted.choice_index:
        raise InvalidRequest("Invalid 'other_id': a preference is between two answers.", param="other_id")


async def feedback_verdicts(
    session: AsyncSession, wanted: FeedbackCreate, speaker: Speaker, answers: Answers
) -> list[Verdict]:
    """One verdict for each thing that was said; the first one carries the tags. Raises InvalidRequest."""
    verdicts: list[Verdict] = []
    for name, value, param in _said(wanted):
        param_of_name = "criterion" if param == "value" else param
        criterion = await criteria.by_name(session, speaker.project_id, name, param=param_of_name)
        if criterion.kind in ("pairwise", "edit", "text") and param.startswith("value"):
            raise InvalidRequest(f"Invalid '{param_of_name}': '{name}' takes no value.", param=param_of_name)
        columns: Columns = measured(criterion, value, param) if value is not None else {}
        columns |= {"tags": _tags(wanted) if not verdicts else [], "blind": wanted.blind}
        if criterion.kind == "pairwise":
            columns["preference_strength"] = wanted.strength
        columns["judgment_metadata"] = wanted.metadata or None
        verdicts.append(_verdict(criterion, speaker, answers, "human", wanted.identifier, columns))
    return verdicts


def _said(wanted: FeedbackCreate) -> Iterator[tuple[str, Any, str]]:
    """Criterion, value and field of the request."""
    if wanted.thumbs is not None:
        yield "thumbs", wanted.thumbs == "up", "thumbs"
    if wanted.rating is not None:
        yield "rating", wanted.rating, "rating"
    if wanted.criterion is not None:
        yield wanted.criterion, wanted.value, "value"
    for name, value in (wanted.values or {}).items():
        yield name, value, f"values.{name}"
    for name in ("preference", "correction", "comment"):
        if getattr(wanted, name) is not None:
            yield name, getattr(wanted, name), name
    named = (wanted.thumbs, wanted.rating, wanted.criterion, wanted.preference, wanted.correction, wanted.comment)
    if all(each is None for each in named) and not wanted.values:
        yield "comment", None, "tags"


def _tags(wanted: FeedbackCreate | JudgmentCreate) -> list[str]:
    """Each once, in the order in which they were given."""
    return list(dict.fromkeys(wanted.tags or ()))


def check_judgment(wanted: JudgmentCreate) -> None:
    """Whatever can be said without the database. Raises InvalidRequest."""
    check_words(wanted.tags, wanted.identifier, wanted.metadata)
    _check_pair(wanted, wanted.exchange_id, needed=False, param="exchange_id")
    if wanted.source in BY_WORKERS:
        raise InvalidRequest(
            f"Invalid 'source': '{wanted.source}' judgments are written by the judges of Tuneway alone (POST /v1/judges "
            "makes one); what other systems bring is 'external'.",
            param="source",
        )
    if wanted.source not in ("external", "human"):
        raise InvalidRequest("Invalid 'source': external or human.", param="source")
    if (wanted.status == "ok") is (wanted.value is None):
        raise InvalidRequest("Invalid 'value': a judgment has one exactly when its status is ok.", param="value")
    if (wanted.status == "error") is (wanted.error_code is None):
        raise InvalidRequest("Invalid 'error_code': it goes with the status error.", param="error_code")
    if wanted.error_code is not None and not 1 <= len(wanted.error_code) <= ERROR_CODE_LENGTH:
        raise InvalidRequest(f"Invalid 'error_code': 1 to {ERROR_CODE_LENGTH} characters.", param="error_code")
    if wanted.rationale is not None and len(wanted.rationale) > TEXT_LENGTH:
        raise InvalidRequest(f"Invalid 'rationale': at most {TEXT_LENGTH:,} characters.", param="rationale")
    checked_number(wanted.confidence, "confidence")


def judgment_verdict(wanted: JudgmentCreate, criterion: CriterionRow, speaker: Speaker, answers: Answers) -> Verdict:
    """Raises InvalidRequest."""
    if criterion.kind == "pairwise" and wanted.other_id is None:
        raise MissingParameter("other_id")
    if criterion.kind != "pairwise" and (wanted.other_id is not None or wanted.strength is not None):
        param = "other_id" if wanted.other_id is not None else "strength"
        raise InvalidRequest(f"Invalid '{param}': '{criterion.name}' judges one answer.", param=param)
    columns: Columns = measured(criterion, wanted.value) if wanted.value is not None else {}
    if wanted.rationale is not None and criterion.kind != "text":
        columns["rationale"] = wanted.rationale
    columns |= {
        "status": wanted.status,
        "error_code": wanted.error_code,
        "preference_strength": wanted.strength,
        "tags": _tags(wanted),
        "confidence": wanted.confidence,
        "judgment_metadata": wanted.metadata or None,
        "blind": wanted.blind,
    }
    return _verdict(criterion, speaker, answers, cast("Source", wanted.source), wanted.identifier, columns)


def _verdict(
    criterion: CriterionRow,
    speaker: Speaker,
    answers: Answers,
    source: Source,
    identifier: str | None,
    columns: Columns,
) -> Verdict:
    pair = criterion.kind == "pairwise"
    preference = cast("Preference | None", columns.pop("preference", None))
    return Verdict(
        project_id=speaker.project_id,
        annotator_id=speaker.annotator_id,
        end_user=speaker.end_user,
        identifier=identifier or "",
        exchange_id=answers.exchange_id,
        choice_index=answers.choice_index,
        other_exchange_id=answers.other_exchange_id if pair else None,
        other_choice_index=answers.other_choice_index if pair else None,
        criterion_id=criterion.id,
        kind=criterion.kind,
        source=source,
        preference=preference,
        **columns,
    )
