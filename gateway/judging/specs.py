"""What may be written about a judge, and what of it a judge is told."""

import json
import re
from hashlib import sha256
from math import isfinite
from typing import Any

import msgspec

from gateway.db.tables import CriterionRow, JudgeVersionRow
from gateway.errors import ECHO_LIMIT, InvalidRequest, MissingParameter
from gateway.protocol.criteria import CriterionSpec
from gateway.protocol.judges import JudgeCreate, Kind, LlmSpec, RuleSpec, Spec, Watch
from judges.llm.criterion import KINDS, Criterion
from judges.llm.families import kinship
from judges.llm.questions import Brief, Example
from judges.rules.written import problems

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
OF_RULES = "Whether the answer keeps all rules of the judge."
OF_RULES_KINDS = ("boolean", "numeric")
MOST_REPEATS, MOST_MEMBERS, MOST_EXAMPLES = 9, 6, 20
LONGEST_PROMPT, LONGEST_EXAMPLE, LONGEST_MODEL = 20_000, 20_000, 256
MOST_PER_HOUR = 1_000_000


def check_name(name: str) -> str:
    """Raises InvalidRequest."""
    if not NAME.fullmatch(name):
        raise _refused("name", "1 to 64 letters, digits, '_', '.' and '-'.")
    return name


def check_min_kappa(value: float | None) -> float | None:
    """Raises InvalidRequest."""
    if value is not None and not -1 <= value <= 1:
        raise _refused("min_kappa", "agreement is between -1 and 1; 0 is chance.")
    return value


def check_watch(watch: Watch | None, criterion: CriterionRow) -> Watch | None:
    """Raises InvalidRequest."""
    if watch is None:
        return None
    if criterion.kind == "pairwise":
        raise _refused("watch", "a judge of comparisons judges the pairs it is given (POST /v1/judges/{id}/judge).")
    if not (isfinite(watch.rate) and 0 < watch.rate <= 1):
        raise _refused("watch.rate", "a share is more than 0 and at most 1.")
    if watch.max_per_hour is not None and not 1 <= watch.max_per_hour <= MOST_PER_HOUR:
        raise _refused("watch.max_per_hour", f"1 to {MOST_PER_HOUR:,}.")
    return watch


def kind_of(spec: Spec) -> Kind:
    return "llm" if isinstance(spec, LlmSpec) else "rule"


def criterion_or_own(wanted: JudgeCreate) -> str | CriterionSpec:
    """What is judged by. Raises InvalidRequest: a model needs a criterion."""
    if wanted.criterion is not None:
        return wanted.criterion
    if isinstance(wanted.spec, RuleSpec):
        return CriterionSpec(name=f"rules.{wanted.name}"[:64], kind="boolean", description=OF_RULES)
    raise MissingParameter("criterion")


def check(spec: Spec, criterion: CriterionRow) -> Spec:
    """Raises InvalidRequest."""
    return _check_llm(spec, criterion) if isinstance(spec, LlmSpec) else _check_rules(spec, criterion)


def _check_rules(spec: RuleSpec, criterion: CriterionRow) -> RuleSpec:
    if criterion.kind not in OF_RULES_KINDS:
        raise _refused("criterion", f"'{criterion.name}' is {criterion.kind}: rules say yes or no, or give a score.")
    for path, why in problems(spec.rules, "spec.rules"):
        raise _refused(path, why)
    return spec


def _check_llm(spec: LlmSpec, criterion: CriterionRow) -> LlmSpec:
    """Raises InvalidRequest."""
    if criterion.kind not in KINDS:
        raise _refused("criterion", f"'{criterion.name}' is {criterion.kind}: only people give such judgments.")
    for path, model in [("spec.model", spec.model), *((f"spec.panel[{n}]", m) for n, m in enumerate(spec.panel))]:
        if not model or len(model) > LONGEST_MODEL:
            raise _refused(path, "the name of a model or a route is needed.")
    if len(spec.panel) > MOST_MEMBERS or len({spec.model, *spec.panel}) <= len(spec.panel):
        raise _refused("spec.panel", f"at most {MOST_MEMBERS} models, each once.")
    if not 1 <= spec.repeats <= MOST_REPEATS:
        raise _refused("spec.repeats", f"1 to {MOST_REPEATS}.")
    if len(spec.prompt) > LONGEST_PROMPT:
        raise _refused("spec.prompt", f"at most {LONGEST_PROMPT:,} characters.")
    _check_examples(spec, judged_by(criterion))
    return spec


def _check_examples(spec: LlmSpec, criterion: Criterion) -> None:
    if len(spec.examples) > MOST_EXAMPLES:
        raise _refused("spec.examples", f"at most {MOST_EXAMPLES}.")
    for place, example in enumerate(spec.examples):
        if not criterion.allows(example.result):
            shown = str(example.result)[:ECHO_LIMIT]
            raise _refused(f"spec.examples[{place}].result", f"{shown!r} is no value of '{criterion.name}'.")
        if len(example.question) + len(example.answer) + len(example.reason) > LONGEST_EXAMPLE:
            raise _refused(f"spec.examples[{place}]", f"at most {LONGEST_EXAMPLE:,} characters.")


def judged_by(row: CriterionRow) -> Criterion:
    """A criterion's version, as a judge sees it; of a kind in KINDS."""
    return Criterion(
        name=row.name,
        kind=row.kind,  # type: ignore[arg-type]
        description=row.description,
        lowest=row.lowest if row.lowest is not None else 0.0,
        highest=row.highest if row.highest is not None else 1.0,
        labels=tuple(row.labels or ()),
        passing_labels=tuple(row.passing_labels or ()),
        pass_score=row.pass_score,
        direction="min" if row.direction == "min" else "max",
    )


def brief_of(spec: LlmSpec, criterion: CriterionRow) -> Brief:
    """What its models are told."""
    sampling = msgspec.to_builtins(spec.sampling)
    return Brief(
        criterion=judged_by(criterion),
        instructions=spec.prompt,
        examples=[
            Example(question=each.question, answer=each.answer, result=each.result, reason=each.reason)
            for each in spec.examples
        ],
        sampling={name: value for name, value in sampling.items() if value is not None},
    )


def stored(spec: Spec) -> tuple[dict[str, Any], str]:
    """A spec as the database has it, every default filled in, and its SHA-256."""
    value = msgspec.to_builtins(spec)
    return value, sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read(value: dict[str, Any]) -> Spec:
    """A stored spec."""
    return msgspec.convert(value, Spec)  # type: ignore[arg-type]


def repeats_of(version: JudgeVersionRow) -> int:
    """Times that it judges each answer."""
    spec = read(version.spec)
    return spec.repeats if isinstance(spec, LlmSpec) else 1


def warnings(spec: Spec, watch: Watch | None) -> list[str]:
    """What the owner of a judge should know: a judge that is kin to what it judges may prefer it."""
    judges = [spec.model, *spec.panel] if isinstance(spec, LlmSpec) else []
    return [
        f"'{judge}' judges '{candidate}', which is the {relation.removeprefix('same_')} that it is itself: judges prefer "
        "their own kin. Take another family, or compare with people (GET /v1/judges/{id}/trust)."
        for candidate in (watch.models if watch else [])
        for judge in judges
        if (relation := kinship(judge, candidate))
    ]


def _refused(param: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{param}': {rule}", param=param)
