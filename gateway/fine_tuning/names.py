"""Names of the models that training makes (contract section 3)."""

import re

from gateway.db.tables import FineTuningJobRow

TUNED = "ft:"
CHECKPOINT = ":ckpt-step-"

_unfit = re.compile(r"[^A-Za-z0-9._-]+")
_checkpoint = re.compile(rf"(?P<model>{TUNED}.+){CHECKPOINT}(?P<step>[0-9]+)")


def model_name(row: FineTuningJobRow, base_model: str, organization: str) -> str:
    """`ft:{base}:{organization}:{suffix or empty}:{8 characters}`; the same for every try of a job.

    The name travels in URLs and HTTP headers, so what of the suffix has no place there becomes a dash.
    """
    return f"{TUNED}{base_model}:{_fit(organization)}:{_fit(row.suffix or '')}:{row.id[-8:]}"


def checkpoint_name(model: str, step: int) -> str:
    """The model of a job as it was after `step` optimizer steps: `ft:...:ckpt-step-{step}`."""
    return f"{model}{CHECKPOINT}{step}"


def base_name(model: str) -> str:
    """The base of a model's name: `ft:starter:org:suffix:id`, with or without a checkpoint's ending -> `starter`.

    The name of a base is its own.
    """
    if not model.startswith(TUNED):
        return model
    match = _checkpoint.fullmatch(model)
    return (match["model"] if match else model).removeprefix(TUNED).rsplit(":", 3)[0]


def _fit(part: str) -> str:
    return _unfit.sub("-", part).strip("-")
