"""One stack for the folder: `tuneway serve` with the starter model, a second provider beside it, and prices."""

import importlib.util
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key, running
from tests.fakes.upstream import Upstream, running_upstream
from tests.openai_sdk import contract
from tests.openai_sdk.stacks import CONFIG, EXAMPLES, connect, ended, examples


@pytest.fixture(scope="package")
def provider() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="package")
def stack(provider: Upstream) -> Iterator[DemoStack]:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("the embedded engine needs torch: pip install 'tuneway[train]'")
    with (
        tempfile.TemporaryDirectory(prefix="tuneway-sdk-") as directory,
        running(DemoStack(Path(directory), config=CONFIG.format(url=provider.url))) as stack,
    ):
        yield stack


@pytest.fixture(scope="package")
def key(stack: DemoStack) -> Key:
    return stack.make_key("shop", "web")


@pytest.fixture(scope="package")
def other_key(stack: DemoStack) -> Key:
    """Of another project."""
    return stack.make_key("rival", "web")


@pytest.fixture(scope="package", params=[False, True], ids=["lenient", "strict"])
def client(request: pytest.FixtureRequest, stack: DemoStack, key: Key) -> Iterator[OpenAI]:
    """Takes what it gets; or holds every object against the SDK's own types."""
    with connect(stack, key.value, _strict_response_validation=request.param) as client:
        yield client


@pytest.fixture
async def asynchronous(stack: DemoStack, key: Key) -> AsyncIterator[AsyncOpenAI]:
    http = DefaultAsyncHttpxClient(event_hooks={"response": [contract.check_async]})
    address: dict[str, Any] = {"base_url": f"{stack.url}/v1", "api_key": key.value, "http_client": http}
    async with AsyncOpenAI(**address, max_retries=0, _strict_response_validation=True) as client:
        yield client


@pytest.fixture(scope="package")
def stranger(stack: DemoStack, other_key: Key) -> Iterator[OpenAI]:
    with connect(stack, other_key.value) as client:
        yield client


@pytest.fixture(scope="package")
def started_job(stack: DemoStack, key: Key) -> FineTuningJob:
    """A short job with everything that a user may say about it."""
    with connect(stack, key.value) as client:
        training = client.files.create(file=("training.jsonl", examples(EXAMPLES)), purpose="fine-tune")
        validation = client.files.create(file=("validation.jsonl", examples(10)), purpose="fine-tune")
        numbers: Any = {"n_epochs": 12, "batch_size": 8, "learning_rate_multiplier": 1.0}
        return client.fine_tuning.jobs.create(
            model="starter",
            training_file=training.id,
            validation_file=validation.id,
            suffix="shop",
            seed=7,
            metadata={"team": "support"},
            method={"type": "supervised", "supervised": {"hyperparameters": numbers}},
        )


@pytest.fixture(scope="package")
def tuned(stack: DemoStack, key: Key, started_job: FineTuningJob) -> FineTuningJob:
    """That job when it has succeeded."""
    with connect(stack, key.value) as client:
        job = ended(client, started_job.id)
        assert job.status == "succeeded", job
    return job
