"""A grader of an eval as a criterion of its project, by which what it says is kept among the judgments.

Each has a criterion of its own, under a name that no other has. Graders of an eval never change: there is one version.
"""

import re

import msgspec

from gateway.evals.criteria import Criterion
from gateway.protocol.criteria import CriterionSpec
from judges.graders import LabelModel, StringCheck

PREFIX = "eval."
LONGEST_SLUG = 40
UUID_LENGTH = 36
MOST_LABELS, LABEL_LENGTH = 100, 200
"""As many, and as long ones, as a criterion takes (gateway/judgments/criteria.py)."""
_unusual = re.compile(r"[^A-Za-z0-9_.-]+")


def judged_by(criterion: Criterion, eval_id: str) -> CriterionSpec:
    """Boolean for what says yes or no, categorical for labels, numeric for what gives a score."""
    description = f"The {criterion.type} `{criterion.name[:200]}` of {eval_id}."
    wanted = CriterionSpec(name=name_of(criterion), kind="boolean", description=description)
    match criterion.grader:
        case LabelModel(labels=labels, passing_labels=passing) if _can_be_listed(labels):
            passing = list(dict.fromkeys(passing))
            ordered = [*passing, *(each for each in labels if each not in passing)]
            return msgspec.structs.replace(wanted, kind="categorical", labels=ordered, passing_labels=passing)
        case StringCheck() | LabelModel():
            return wanted
        case _:
            (low, high), passes = criterion.scale(), criterion.threshold()
            share = criterion.score(passes) if low <= passes <= high else None
            return msgspec.structs.replace(wanted, kind="numeric", lowest=low, highest=high, pass_score=share)


def name_of(criterion: Criterion) -> str:
    """`eval.`, what of the grader's name such names take, and the first digits of the UUID that it was given."""
    slug = _unusual.sub("-", criterion.name).strip("-")[:LONGEST_SLUG]
    return f"{PREFIX}{slug}.{criterion.id[-UUID_LENGTH:][:8]}"


def _can_be_listed(labels: list[str]) -> bool:
    return 2 <= len(labels) <= MOST_LABELS and all(len(label) <= LABEL_LENGTH for label in labels)
