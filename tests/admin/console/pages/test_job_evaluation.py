"""Whether a tuned model is better than its base: real runs of both on what was held out, and what the job's page says."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.settings import Settings
from tests.admin.console.browsers import Browser, text_of
from tests.admin.console.pages.eval_runs import worker_of
from tests.fakes.evals import Straight, ended
from tests.fakes.tuned_models import add_job

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
REPEATS, TALKS = "echo", "assistant"
"""Models of the fake provider: one says what it was asked, the other `You said: ` before it."""
JUDGE = "no-usage"
POINTS = ["relevance", "coherence", "factuality", "completeness", "tone"]


@pytest.fixture(autouse=True)
async def worker(settings: Settings, app: App, project_key: dict[str, Any]) -> AsyncIterator[Straight]:
    async with worker_of(settings, app, project_key) as straight:
        yield straight


@pytest.fixture
def home(project_id: str) -> str:
    return f"/console/projects/{project_id}"


def line(number: int) -> bytes:
    """Right is what TALKS says, and nothing of it what REPEATS says."""
    asked, right = "?" * (number + 1), "You said: " + "?" * (number + 1)
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": right}]
    return json.dumps({"messages": messages}).encode() + b"\n"


async def job_of(
    client: Client, database: Database, key: dict[str, Any], *, base: str, tuned: str, count: int = 8
) -> str:
    """A job that has made `tuned` of `base`, with held-out data."""
    form = {"file": ("held-out.jsonl", b"".join(map(line, range(count)))), "purpose": (None, "fine-tune")}
    file = (await client.post("/v1/files", files=form)).json()["id"]
    return (await add_job(database, key, model=base, fine_tuned_model=tuned, validation_file=file)).id


async def evaluated(owner: Browser, client: Client, home: str, job_id: str, **fields: str) -> dict[str, Any]:
    """The eval, once both have answered."""
    await owner.send(f"{home}/fine-tuning/{job_id}/evaluation", **fields)
    [suite] = (await client.get("/v1/evals", params={"metadata[fine_tuning_job]": job_id})).json()["data"]
    for run in (await client.get(f"/v1/evals/{suite['id']}/runs")).json()["data"]:
        assert (await ended(client, run))["status"] == "completed"
    return suite


def judged(worker: Straight) -> None:
    """JUDGE gives a four to everything."""
    plain = worker.chat

    async def with_verdicts(project_id: str, purpose: str, body: dict[str, Any]) -> Any:
        asked = await plain(project_id, purpose, body)
        if body["model"] != JUDGE:
            return asked
        reply = json.loads(asked.body)
        key = re.search(r'"key": "(\w+)"', json.dumps(body["messages"]).replace('\\"', '"'))
        assert key
        verdict = {"key": key[1], "steps": [{"description": "It answers", "conclusion": "well"}], "result": 4}
        reply["choices"][0]["message"]["content"] = json.dumps(verdict)
        return type(asked)(json.dumps(reply).encode(), asked.exchange_id, asked.cost_nano, asked.duration_ms)

    worker.chat = with_verdicts  # type: ignore[method-assign]


class TestVerdict:
    async def test_better(
        self, owner: Browser, client: Client, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job_id = await job_of(client, database, project_key, base=REPEATS, tuned=TALKS)
        suite = await evaluated(owner, client, home, job_id)
        page = await owner.open(f"{home}/fine-tuning/{job_id}")
        text = text_of(page)
        assert "Better than its base." in text
        assert "0.0% of the base's answers pass, 100.0% of the tuned model's: +100.0 points" in text
        assert "n = 8, p = 0.008 by McNemar\u2019s test" in text
        assert "8 answers got better, 0 got worse" in text
        assert "Quality score of the tuned model: 100 of 100, ready to deploy." in text
        [link] = re.findall(r'href="([^"]*/compare\?[^"]*)"', page.partition("Is it better than its base?")[2])
        assert f"/evals/{suite['id']}/compare" in link
        assert "Better than the baseline." in text_of(await owner.open(link.replace("&amp;", "&")))

    async def test_worse(
        self, owner: Browser, client: Client, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job_id = await job_of(client, database, project_key, base=TALKS, tuned=REPEATS)
        await evaluated(owner, client, home, job_id)
        text = text_of(await owner.open(f"{home}/fine-tuning/{job_id}"))
        assert "Worse than its base." in text
        assert "train again." in text

    async def test_no_difference_that_is_sure(
        self, owner: Browser, client: Client, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job_id = await job_of(client, database, project_key, base=REPEATS, tuned=TALKS, count=3)
        await evaluated(owner, client, home, job_id)
        text = text_of(await owner.open(f"{home}/fine-tuning/{job_id}"))
        assert "No difference that is sure." in text
        assert "Better than its base." not in text


class TestJudge:
    async def test_is_offered_among_other_models(
        self, owner: Browser, client: Client, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job_id = await job_of(client, database, project_key, base=REPEATS, tuned=TALKS)
        page = await owner.open(f"{home}/fine-tuning/{job_id}")
        [options] = re.findall(r'<select id="f-judge".*?</select>', page, flags=re.DOTALL)
        offered = re.findall(r'value="([^"]*)"', options)
        assert offered[0] == ""
        assert JUDGE in offered
        assert not {REPEATS, TALKS} & set(offered)

    @pytest.mark.parametrize(("how", "names"), [("overall", ["judged answer"]), ("points", POINTS)])
    async def test_scores_the_answers_and_does_not_decide(
        self,
        owner: Browser,
        client: Client,
        home: str,
        database: Database,
        project_key: dict[str, Any],
        worker: Straight,
        how: str,
        names: list[str],
    ) -> None:
        judged(worker)
        job_id = await job_of(client, database, project_key, base=REPEATS, tuned=TALKS)
        suite = await evaluated(owner, client, home, job_id, judge=JUDGE, rubric=how)
        criteria = suite["testing_criteria"]
        assert [each["name"] for each in criteria] == ["like the held-out answer", *names]
        assert {each["model"] for each in criteria[1:]} == {JUDGE}
        assert suite["metrics"]["primary"] == "like the held-out answer"
        runs = (await client.get(f"/v1/evals/{suite['id']}/runs")).json()["data"]
        assert [each["metrics"]["judge"]["value"] for each in runs] == [0.75, 0.75]
        text = text_of(await owner.open(f"{home}/fine-tuning/{job_id}"))
        assert "Better than its base." in text
        assert f"{names[0]} (score) no difference that is sure 0.750 0.750" in text

    async def test_one_that_fails_takes_nothing_away(
        self, owner: Browser, client: Client, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        """It answers with what it was asked, which is no verdict."""
        job_id = await job_of(client, database, project_key, base=REPEATS, tuned=TALKS)
        await evaluated(owner, client, home, job_id, judge=JUDGE, rubric="overall")
        assert "Better than its base." in text_of(await owner.open(f"{home}/fine-tuning/{job_id}"))

    async def test_one_that_is_not_there_is_refused(
        self, owner: Browser, client: Client, home: str, database: Database, project_key: dict[str, Any]
    ) -> None:
        job_id = await job_of(client, database, project_key, base=REPEATS, tuned=TALKS)
        page = text_of(await owner.send(f"{home}/fine-tuning/{job_id}/evaluation", 400, judge="nobody"))
        assert "nobody" in page
        assert (await client.get("/v1/evals")).json()["data"] == []
