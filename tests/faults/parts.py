"""The parts of a running stack, by process id, and what its exchange log holds."""

import signal
from collections import Counter
from collections.abc import Iterable

import httpx
import psutil
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key
from deploy.parts_file import PartStatus, read_parts
from tests.openai_sdk.stacks import wait_until


def part(stack: DemoStack, name: str) -> PartStatus:
    return read_parts(stack.data_dir / "run" / "parts.json")[name]


def kill(pid: int | None) -> None:
    assert pid is not None
    psutil.Process(pid).send_signal(signal.SIGKILL)


def wait_for_restart(stack: DemoStack, name: str, before: PartStatus) -> None:
    """Return when the part runs again as another process and the whole stack is ready."""

    def again() -> bool:
        now = part(stack, name)
        return now.restarts > before.restarts and now.state == "running" and stack.is_ready()

    wait_until(again, f"{name} runs again and /ready is 200")


def is_gone(process: psutil.Process) -> bool:
    """A zombie that nobody has reaped yet is gone too."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def steps(client: OpenAI, job: FineTuningJob) -> list[int]:
    """The optimizer steps that a job's events tell of, as they were told."""
    events = client.fine_tuning.jobs.list_events(job.id, limit=100)
    return [int(event.data["step"]) for event in events if event.type == "metrics"][::-1]  # type: ignore[index]


def logged(stack: DemoStack, key: Key) -> dict[str, str]:
    """Id -> outcome of every exchange of the key's project; an id that the log holds twice is an error."""
    found: list[tuple[str, str]] = []
    headers = {"authorization": f"Bearer {key.value}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=30) as http:
        query: dict[str, str | int] = {"limit": 100}
        while True:
            page = http.get("/v1/exchanges", params=query).raise_for_status().json()
            found += [(each["id"], each["outcome"]) for each in page["data"]]
            if not page["has_more"]:
                break
            query["after"] = page["last_id"]
    assert [name for name, count in Counter(name for name, _ in found).items() if count > 1] == []
    return dict(found)


def wait_until_logged(stack: DemoStack, key: Key, seen: Iterable[str]) -> None:
    """Return when every exchange that a client saw end is in the log as completed."""
    wanted = set(seen)

    def complete() -> bool:
        log = logged(stack, key)
        return wanted <= {name for name, outcome in log.items() if outcome == "completed"}

    wait_until(complete, f"{len(wanted)} exchanges are in the log")
