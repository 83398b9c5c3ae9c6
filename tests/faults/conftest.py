"""One stack for the folder, of which tests kill parts. Each leaves it ready again."""

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key, running
from tests.fakes.upstream import Upstream, running_upstream
from tests.faults.parts import is_gone, kill, part, steps, wait_for_restart
from tests.openai_sdk.stacks import CONFIG, connect, ended, examples, start_job, wait_until

LEASE = "\n[fine_tuning]\nlease_seconds = 3.0\n"


@pytest.fixture(scope="package")
def provider() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="package")
def stack(provider: Upstream) -> Iterator[DemoStack]:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("the embedded engine needs torch: pip install 'tuneway[train]'")
    with (
        tempfile.TemporaryDirectory(prefix="tuneway-faults-") as directory,
        running(DemoStack(Path(directory), config=CONFIG.format(url=provider.url) + LEASE)) as stack,
    ):
        yield stack


@pytest.fixture(scope="package")
def key(stack: DemoStack) -> Key:
    return stack.make_key("shop", "web")


@pytest.fixture(scope="package")
def client(stack: DemoStack, key: Key) -> Iterator[OpenAI]:
    with connect(stack, key.value) as client:
        yield client


@pytest.fixture(scope="package")
def published(stack: DemoStack, client: OpenAI) -> FineTuningJob:
    """A job whose worker was killed in the middle, once it has succeeded and its model answers."""
    job = start_job(client, examples(24), n_epochs=20)
    wait_until(lambda: steps(client, job), "the job trains")
    before = part(stack, "worker")
    trainers = psutil.Process(before.pid).children(recursive=True)
    kill(before.pid)
    wait_for_restart(stack, "worker", before)
    wait_until(lambda: all(map(is_gone, trainers)), "the trainer has ended with its worker")
    job = ended(client, job.id)
    assert job.status == "succeeded", job.error
    return job
