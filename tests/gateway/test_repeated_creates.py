"""A fine-tuning job that is created several times at once, at a real gateway process."""

import asyncio
from typing import Any

import httpx2
import openai
import pytest

from tests.fakes.fine_tuning import TEN
from tests.gateway.conftest import RunningGateway, StartGateway

pytestmark = pytest.mark.anyio

AT_ONCE = 16
JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> RunningGateway:
    """With an engine that is away: creating a job does not need it."""
    return start_gateway(engine__url="http://127.0.0.1:9/v1", engine__model="base", engine__model_path="/nowhere")


def sdk_of(gateway: RunningGateway, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key["value"], **options)


async def upload(client: openai.AsyncOpenAI) -> str:
    return (await client.files.create(file=("train.jsonl", TEN), purpose="fine-tune")).id


class TestAtOnce:
    @pytest.mark.parametrize("round_", range(3))
    async def test_the_same_call_makes_one_job(self, gateway: RunningGateway, round_: int) -> None:
        async with sdk_of(gateway, max_retries=0) as client:
            file = await upload(client)
            await asyncio.gather(*(client.models.list() for _ in range(AT_ONCE)))  # connections are open now
            create = client.fine_tuning.jobs.create
            jobs = await asyncio.gather(*(create(model="base", training_file=file) for _ in range(AT_ONCE)))
            assert len({job.id for job in jobs}) == 1
            events = await client.fine_tuning.jobs.list_events(jobs[0].id)
            assert [event.message for event in events.data] == [f"Created fine-tuning job: {jobs[0].id}"]

    async def test_different_calls_make_different_jobs(self, gateway: RunningGateway) -> None:
        async with sdk_of(gateway, max_retries=0) as client:
            file = await upload(client)
            create = client.fine_tuning.jobs.create
            jobs = await asyncio.gather(*(create(model="base", training_file=file, seed=n) for n in range(AT_ONCE)))
            assert len({job.id for job in jobs}) == AT_ONCE


class LosesAnswers(httpx2.AsyncBaseTransport):
    """The server has done its work, and the answer never arrives, the first two times."""

    def __init__(self) -> None:
        self.inner = httpx2.AsyncHTTPTransport()
        self.ids: list[str] = []

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self.inner.handle_async_request(request)
        if request.url.path == JOBS and request.method == "POST":
            await answer.aread()
            self.ids.append(answer.json()["id"])
            if len(self.ids) < 3:
                raise httpx2.ReadTimeout("the answer is lost", request=request)
        return answer


class TestSdkThatRepeatsItself:
    async def test_gets_the_job_of_its_first_try(self, gateway: RunningGateway) -> None:
        transport = LosesAnswers()
        http = openai.DefaultAsyncHttpxClient(transport=transport)
        async with sdk_of(gateway, max_retries=2, http_client=http) as client:
            job = await client.fine_tuning.jobs.create(model="base", training_file=await upload(client))
            assert transport.ids == [job.id] * 3
            assert [each.id for each in (await client.fine_tuning.jobs.list(limit=1)).data] == [job.id]
