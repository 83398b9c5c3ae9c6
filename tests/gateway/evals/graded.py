"""Output items as the statistics take them."""

from typing import Any

from gateway.evals.figures import CriterionSpec, Graded, RunFigures

SAME = CriterionSpec("same-1", "same", "string_check", is_judge=False)
JUDGE = CriterionSpec("judge-1", "judge", "score_model", is_judge=True)


def graded(number: int, passed: bool | None, *, repeat: int = 0, **more: Any) -> Graded:
    """One that passed, failed, or (None) could not be graded."""
    status = "error" if passed is None else "pass" if passed else "fail"
    scores = {} if passed is None else {"same-1": (float(passed), passed)}
    fields = {"cluster": f"#{number}", "key": f"k{number}", "scores": scores, **more}
    return Graded(number=number, repeat=repeat, status=status, **fields)


def run_of(*verdicts: bool | None, **more: Any) -> RunFigures:
    """One answer to each item."""
    return figures([graded(number, passed) for number, passed in enumerate(verdicts)], **more)


def figures(items: list[Graded], **more: Any) -> RunFigures:
    return RunFigures(**{"criteria": [SAME], "primary": "", "repeats": 1, "items": items, **more})
