"""Judges in the console."""

import json
import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import CalibrationRow, JudgeVersionRow
from gateway.kit.clock import now
from gateway.kit.ids import new_sorted_id
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

LLM = {"type": "llm", "name": "helpfulness", "criterion": "helpful", "model": "echo", "prompt": "For beginners."}


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/judges"


async def made(owner: Browser, url: str, **fields: str) -> str:
    """Its URL."""
    page = await owner.send(f"{url}/new", **LLM | fields)
    return f"{url}/{re.findall(r'/judges/(judge_[A-Za-z0-9]+)/edit', page)[0]}"


async def kept(owner: Browser, one: str, project_id: str) -> dict[str, Any]:
    answer = await owner.client.get(f"/v1/judges/{one.rpartition('/')[2]}", headers={"openai-project": project_id})
    return answer.json()


class TestMaking:
    async def test_a_model_with_a_rubric_that_watches(self, owner: Browser, url: str, project_id: str) -> None:
        one = await made(
            owner, url, watches="true", rate="10", max_per_hour="500", panel="slow, large", temperature="0"
        )
        judge = await kept(owner, one, project_id)
        assert judge["version"]["spec"]["panel"] == ["slow", "large"]
        assert judge["version"]["spec"]["sampling"] == {"temperature": 0}
        assert (judge["watch"]["rate"], judge["watch"]["max_per_hour"]) == (0.1, 500)
        text = text_of(await owner.open(one))
        assert "It is not trusted yet." in text
        assert "For beginners." in text

    async def test_rules(self, owner: Browser, url: str, project_id: str) -> None:
        rule = {"type": "length", "unit": "words", "most": 200}
        one = await made(owner, url, type="rule", name="short", criterion="", rule_0=json.dumps(rule), rule_1=" ")
        judge = await kept(owner, one, project_id)
        assert [each["most"] for each in judge["version"]["spec"]["rules"]] == [200]

    @pytest.mark.parametrize(
        "wrong", [{"model": ""}, {"name": "two words"}, {"type": "rule", "rule_0": "{"}, {"type": "rule", "rule_0": '{"type": "no"}'}]
    )  # fmt: skip
    async def test_what_is_wrong_is_said_and_nothing_is_lost(
        self, owner: Browser, url: str, wrong: dict[str, str]
    ) -> None:
        page = await owner.send(f"{url}/new", 400, **LLM | {"max_per_hour": "7"} | wrong)
        assert 'role="alert"' in page
        assert 'value="7"' in page


class TestChanging:
    async def test_what_stays_makes_no_version(self, owner: Browser, url: str, project_id: str) -> None:
        one = await made(owner, url, watches="true", rate="10")
        before = await kept(owner, one, project_id)
        form = await owner.open(f"{one}/edit")
        hidden = re.findall(r'name="kept" value="([^"]*)"', form)[0].replace("&#34;", '"')
        page = await owner.send(f"{one}/edit", **LLM, kept=hidden, repeats="1", watches="true", rate="20")
        assert "It is changed." in text_of(page)
        after = await kept(owner, one, project_id)
        assert after["version"] == before["version"]
        assert after["watch"]["rate"] == 0.2

    async def test_another_rubric_is_the_next_version(self, owner: Browser, url: str, project_id: str) -> None:
        one = await made(owner, url)
        page = await owner.send(f"{one}/edit", **LLM | {"prompt": "Be strict."})
        assert "Version 2 judges from now on" in text_of(page)
        assert (await kept(owner, one, project_id))["watch"] is None

    async def test_archived_it_is_in_the_list_of_all_alone(self, owner: Browser, url: str) -> None:
        one = await made(owner, url)
        assert "No judge yet" in text_of(await owner.send(f"{one}/archive"))
        assert "helpfulness" in await owner.open(f"{url}?archived=true")


class TestTrust:
    async def test_list_and_page_show_the_agreement_with_its_interval(
        self, owner: Browser, url: str, database: Database, project_id: str
    ) -> None:
        one = await made(owner, url)
        version = (await kept(owner, one, project_id))["version"]
        await calibrated(database, project_id, version)
        owner.client.headers["hx-request"] = "true"
        table = text_of(await owner.open(url))
        assert "kappa 0.61 (0.45 to 0.75), n = 40" in table
        assert "not trusted" in table
        del owner.client.headers["hx-request"]
        page = await owner.open(one)
        assert "0.45 to 0.75, n = 40" in text_of(page)
        assert "Disagreed: newest 1" in text_of(page)
        assert f"/console/projects/{project_id}/exchanges/req_7" in page

    async def test_the_list_does_not_wait_for_figures(self, owner: Browser, url: str) -> None:
        await made(owner, url)
        page = await owner.open(url)
        assert 'hx-trigger="load"' in page
        assert "helpfulness" in page

    async def test_a_criterion_that_cannot_be_compared_is_refused(self, owner: Browser, url: str) -> None:
        one = await made(owner, url)
        page = await owner.send(f"{one}/calibrate", 400, criterion="comment")
        assert 'aria-invalid="true"' in page

    async def test_a_reader_makes_none(self, app: App, admin: httpx.AsyncClient, owner: Browser, url: str) -> None:
        one = await made(owner, url)
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "New judge" not in await browser.open(url)
            assert "Calibrate" not in await browser.open(one)
            await browser.send(f"{one}/archive", 403)


async def calibrated(database: Database, project_id: str, version: dict[str, Any]) -> None:
    cells = {"labels": [False, True], "counts": [[18, 1], [5, 16]], "exchanges": [[[], ["req_7"]], [[], []]]}
    async with database.session() as session:
        row = await session.get_one(JudgeVersionRow, version["id"])
        session.add(
            CalibrationRow(
                id=new_sorted_id("calib_"), project_id=project_id, judge_version_id=row.id, criterion_id=row.criterion_id,
                created_at=now(), n=40, kappa=0.61, kappa_low=0.45, kappa_high=0.75, sensitivity=0.76,
                specificity=0.95, report={"confusion": cells, "agreement": 0.85},
            )
        )  # fmt: skip
