"""How the demo tells what it does: numbered steps, lines, tables, and the events of a job."""

import time

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob
from rich.console import Console
from rich.table import Table

from deploy.demo.stack import DemoError

JOB_SECONDS = 900
SHOWN_EVERY_SECONDS = 5.0


class Telling:
    """On a terminal."""

    def __init__(self, out: Console) -> None:
        self.out = out

    def title(self, number: int, title: str, how: str) -> None:
        self.out.print(f"\n[bold]{number}. {title}[/]  [dim]{how}[/]")

    def tell(self, line: str) -> None:
        self.out.print(f"   {line}")

    def show(self, table: Table) -> None:
        self.out.print(table)

    def train(self, client: OpenAI, job: FineTuningJob) -> str:
        """Tell the job's events as they come, the steps thinned out, until it has ended; the model that it made.

        Raises DemoError: it made none.
        """
        started = time.monotonic()
        job = self._follow(client, job)
        if job.status != "succeeded" or not job.fine_tuned_model:
            raise DemoError(f"the job {job.status}: {job.error.message if job.error else 'no reason was given'}")
        self.tell(
            f"[bold]{job.fine_tuned_model}[/] after {time.monotonic() - started:.0f} s, {job.trained_tokens} tokens"
        )
        return job.fine_tuned_model

    def _follow(self, client: OpenAI, job: FineTuningJob) -> FineTuningJob:
        seen: set[str] = set()
        shown, deadline = 0.0, time.monotonic() + JOB_SECONDS
        while time.monotonic() < deadline:
            ended = (job := client.fine_tuning.jobs.retrieve(job.id)).status in ("succeeded", "failed", "cancelled")
            page = client.fine_tuning.jobs.list_events(job.id, limit=100).data
            for event in reversed([event for event in page if event.id not in seen]):
                seen.add(event.id)
                if event.type != "metrics" or time.monotonic() - shown > SHOWN_EVERY_SECONDS:
                    self.out.print(f"   {event.message}", markup=False, style="dim")
                    shown = time.monotonic()
            if ended:
                return job
            time.sleep(0.5)
        raise DemoError(f"the job had not ended after {JOB_SECONDS} s")


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Args: right: columns of numbers, behind the others."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table
