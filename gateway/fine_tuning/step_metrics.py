"""The result file of a job: its metrics as CSV, in OpenAI's columns (contract section 3, "Result file")."""

import csv
import hashlib
import io
from collections.abc import Iterable
from typing import Any

FILENAME = "step_metrics.csv"
PURPOSE = "fine-tune-results"

COLUMNS = {
    "step": "step",
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""Column -> the metric in it."""
DPO_COLUMNS = (
    "train_reward_accuracy",
    "train_reward_margin",
    "full_valid_reward_accuracy",
    "full_valid_reward_margin",
)
"""Behind the others; named after their metrics."""


def file_id_of(job_id: str) -> str:
    """The same for every try of a job, so that it has one result file however often a worker dies."""
    return "file-" + hashlib.sha256(f"results of {job_id}".encode()).hexdigest()[:24]


def step_metrics(rows: Iterable[dict[str, Any]], *, method: str) -> bytes:
    """One line a step in the order of the steps; a cell without a number is empty.

    Args:
        rows: `data` of the job's metrics events.
    """
    columns = COLUMNS | ({name: name for name in DPO_COLUMNS} if method == "dpo" else {})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in sorted(rows, key=lambda row: row["step"]):
        writer.writerow([row.get(metric) for metric in columns.values()])
    return text.getvalue().encode()
