"""A stack as a user runs it, beside a second provider: its settings, clients of it, and jobs on it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openai import DefaultHttpxClient, OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo import stack as demo
from deploy.demo.stack import DemoStack
from tests.openai_sdk import contract

CONFIG = """
[[upstreams]]
name = "provider"
base_url = "{url}"
api_key = "sk-provider"
models = ["echo", "status-429", "error-midway", "unicode"]

[[prices]]
model = "echo"
input = 5.0
cached_input = 0.5
output = 10.0

[[prices]]
model = "starter"
input = 0.10
output = 0.40
"""
TRAINING = Path(demo.__file__).parent / "data" / "training.jsonl"
EXAMPLES = 24
SECONDS = 240.0
"""The longest that anything here may take."""
ENDED = ("succeeded", "failed", "cancelled")


def connect(stack: DemoStack, api_key: str, **options: Any) -> OpenAI:
    """A client that tries once, so that a test sees what the first try got."""
    http = DefaultHttpxClient(event_hooks={"response": [contract.check]})
    options = {"max_retries": 0, "admin_api_key": stack.admin_key, "http_client": http, **options}
    return OpenAI(base_url=f"{stack.url}/v1", api_key=api_key, **options)


def examples(count: int) -> bytes:
    """The first lines of the demo's training file."""
    return b"".join(TRAINING.read_bytes().splitlines(keepends=True)[:count])


def question_and_answer(index: int) -> tuple[str, str]:
    messages = json.loads(examples(EXAMPLES).splitlines()[index])["messages"]
    return messages[-2]["content"], messages[-1]["content"]


def ended(client: OpenAI, job_id: str) -> FineTuningJob:
    """The job once it has ended."""
    wait_until(lambda: client.fine_tuning.jobs.retrieve(job_id).status in ENDED, f"{job_id} has ended")
    return client.fine_tuning.jobs.retrieve(job_id)


def user(content: str) -> Any:
    return [{"role": "user", "content": content}]


def start_job(
    client: OpenAI, content: bytes, *, model: str = "starter", n_epochs: int = 1, **more: Any
) -> FineTuningJob:
    """A job on a new file, eight examples a step."""
    file = client.files.create(file=("training.jsonl", content), purpose="fine-tune")
    numbers: Any = {"n_epochs": n_epochs, "batch_size": 8}
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": numbers}}
    return client.fine_tuning.jobs.create(model=model, training_file=file.id, method=method, **more)


def wait_until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Raises TimeoutError when `what` has not happened in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)
