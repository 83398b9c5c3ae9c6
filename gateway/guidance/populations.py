"""What could have failed in one way, and what did: whatever is said of a cluster is counted in its population.

An answer counts once, however many people or repeats judged it; it failed when anybody says so.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.guidance.material import Called, Judged, Material, Tested
from gateway.protocol.guidance import ClusterKind, Subject

FAILED, REFUSED, COMPLETED = "failed", "refused", "completed"
CUT_OFF = "length"
MOST_CODES = 10
"""Kinds of errors that are looked at one by one."""
MOST_TAGS = 20
"""Of one source: people may write what they like."""
PEOPLE, RULE, MODEL = "human", "rule", "llm"
BY = {PEOPLE: "People", RULE: "Rules", MODEL: "Judge", "external": "Other systems"}


@dataclass(frozen=True, slots=True)
class Sighting:
    """An answer that could have failed."""

    id: str
    at: float
    model: str | None
    route: str | None
    end_user: str | None
    metadata: dict[str, Any] | None
    failed: bool
    exchange_id: str | None = None
    eval_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Population:
    kind: ClusterKind
    title: str
    subject: Subject
    sightings: Sequence[Sighting]
    trusted: bool | None = None
    timed: bool = True
    """Its sightings came when their users wanted; those of a run of an eval came when somebody ran it."""

    @property
    def failures(self) -> list[Sighting]:
        return [each for each in self.sightings if each.failed]


@dataclass(slots=True)
class _Said:
    """By one voice (a judge, or people) on one criterion."""

    judged: list[Judged] = field(default_factory=list[Judged])
    tags: Counter[str] = field(default_factory=Counter[str])


def populations(material: Material) -> Iterator[Population]:
    """Everything that could be a cluster."""
    yield from _of_judgments(material)
    yield from _of_calls(material.called)
    yield from _of_evals(material.tested)


def _of_judgments(material: Material) -> Iterator[Population]:
    said: dict[tuple[str, str, str | None], _Said] = {}
    for each in material.judged:
        voice = said.setdefault((each.source, each.criterion_id, each.judge_version_id), _Said())
        voice.judged.append(each)
        voice.tags.update(set(each.tags))
    for (source, criterion_id, version_id), voice in said.items():
        subject, trusted = _subject(material, source, criterion_id, version_id)
        yield from _of_voice(voice, subject, trusted)
    yield from _of_peoples_tags(material.judged)


def _subject(material: Material, source: str, criterion_id: str, version_id: str | None) -> tuple[Subject, bool | None]:
    criterion, judge = material.criteria.get(criterion_id), material.judges.get(version_id or "")
    subject = Subject(
        source=source,
        criterion=criterion.name if criterion else criterion_id,
        criterion_id=criterion_id,
        judge_id=judge.id if judge else None,
        judge=judge.name if judge else None,
    )
    return subject, judge.trusted if judge and source == MODEL else None


def _of_voice(voice: _Said, subject: Subject, trusted: bool | None) -> Iterator[Population]:
    """Rules name what failed, each by its name; what they do not name, and what others say, is the criterion's."""
    named = voice.tags if subject.source == RULE else Counter[str]()
    for tag in sorted(named):
        sightings = _sightings(voice.judged, lambda each, tag=tag: tag in each.tags)
        title = f"Rule {tag} fails" + (f" ({subject.judge})" if subject.judge else "")
        yield Population("judgment", title, _with_tag(subject, tag), sightings, trusted)
    decided = [each for each in voice.judged if each.passed is not None]
    sightings = _sightings(decided, lambda each: each.passed is False and not (named and each.tags))
    yield Population("judgment", _title(subject), subject, sightings, trusted)


def _title(subject: Subject) -> str:
    """Of what a person, a judge or another system did not let pass."""
    who = BY.get(subject.source or "", "Somebody")
    return f"{who}{f' {subject.judge}' if subject.judge else ''}: {subject.criterion} not met"


def _with_tag(subject: Subject, tag: str) -> Subject:
    return Subject(
        source=subject.source,
        criterion=subject.criterion,
        criterion_id=subject.criterion_id,
        judge_id=subject.judge_id,
        judge=subject.judge,
        tag=tag,
    )


def _of_peoples_tags(judged: Sequence[Judged]) -> Iterator[Population]:
    """Whatever the criterion was beside which they stand."""
    for source in (PEOPLE, "external", MODEL):
        own = [each for each in judged if each.source == source]
        tags = Counter(tag for each in own for tag in set(each.tags))
        for tag, _ in sorted(tags.most_common(MOST_TAGS)):
            sightings = _sightings(own, lambda each, tag=tag: tag in each.tags)
            verb = "says" if source == MODEL else "say"
            yield Population("tag", f"{BY[source]} {verb}: {tag}", Subject(source=source, tag=tag), sightings)


def _sightings(judged: Iterable[Judged], failed: Any) -> list[Sighting]:
    found: dict[str, Sighting] = {}
    for each in judged:
        known, fails = found.get(each.exchange_id), bool(failed(each))
        if known is None:
            found[each.exchange_id] = _sighting(each, failed=fails)
        elif fails and not known.failed:
            found[each.exchange_id] = replace(known, failed=True)
    return list(found.values())


def _sighting(each: Judged | Called, *, failed: bool) -> Sighting:
    return Sighting(
        id=each.exchange_id,
        at=each.at,
        model=each.model,
        route=each.route,
        end_user=each.end_user,
        metadata=each.metadata,
        failed=failed,
        exchange_id=each.exchange_id,
    )


def _of_calls(called: Sequence[Called]) -> Iterator[Population]:
    for outcome, words in ((FAILED, "fail"), (REFUSED, "are refused")):
        codes = Counter(_code(each) for each in called if each.outcome == outcome)
        for code, _ in codes.most_common(MOST_CODES):
            sightings = [_sighting(each, failed=each.outcome == outcome and _code(each) == code) for each in called]
            yield Population("call", f"Calls {words}: {code}", Subject(code=code, outcome=outcome), sightings)
    yield from _of_fallbacks(called)
    read = [each for each in called if each.finish_reason is not None]
    sightings = [_sighting(each, failed=each.finish_reason == CUT_OFF) for each in read]
    yield Population("cut_off", "Answers are cut off at their limit of tokens", Subject(), sightings)


def _code(each: Called) -> str:
    return each.code or f"status {each.status}"


def _of_fallbacks(called: Sequence[Called]) -> Iterator[Population]:
    failed = Counter((each.failed_model, each.failure) for each in called if each.failure)
    for (model, failure), _ in failed.most_common(MOST_CODES):
        sightings = [_sighting(each, failed=(each.failed_model, each.failure) == (model, failure)) for each in called]
        title = f"{model or 'The first choice'} does not answer ({failure}), and another is asked"
        yield Population("fallback", title, Subject(code=failure, model=model), sightings)


def _of_evals(tested: Sequence[Tested]) -> Iterator[Population]:
    by_eval: dict[str, list[Tested]] = {}
    for each in tested:
        by_eval.setdefault(each.eval_id, []).append(each)
    for eval_id, items in by_eval.items():
        newest = max(items, key=lambda each: each.at)
        subject = Subject(eval_id=eval_id, eval_name=newest.eval_name, run_id=newest.run_id)
        for criterion in sorted({name for each in items for name in each.failed}):
            sightings = [_tested(each, failed=criterion in each.failed) for each in items]
            own = Subject(**_fields(subject), criterion=criterion)
            yield Population("eval", f"Eval {newest.eval_name}: {criterion} fails", own, sightings, timed=False)
        paired = [each for each in items if each.flipped is not None]
        sightings = [_tested(each, failed=bool(each.flipped)) for each in paired]
        title = f"Eval {newest.eval_name}: items that passed before fail now"
        yield Population("flip", title, subject, sightings, timed=False)


def _fields(subject: Subject) -> dict[str, Any]:
    return {"eval_id": subject.eval_id, "eval_name": subject.eval_name, "run_id": subject.run_id}


def _tested(each: Tested, *, failed: bool) -> Sighting:
    return Sighting(
        id=each.item_id,
        at=each.at,
        model=each.model,
        route=None,
        end_user=None,
        metadata=None,
        failed=failed,
        eval_id=each.eval_id,
        run_id=each.run_id,
    )
