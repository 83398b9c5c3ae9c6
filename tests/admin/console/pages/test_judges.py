"""Judges in the console."""

import re
from html import unescape
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from admin.console.api import ApiRefused
from admin.console.pages import judges
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
        length = {"rule_0_kind": "length", "rule_0_unit": "words", "rule_0_most": "200"}
        refusal = {"rule_1_kind": "refusal"}
        one = await made(owner, url, type="rule", name="short", criterion="", **length, **refusal)
        judge = await kept(owner, one, project_id)
        assert judge["version"]["spec"]["rules"] == [
            {"type": "length", "unit": "words", "most": 200},
            {"type": "refusal"},
        ]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"model": ""},
            {"name": "two words"},
            {"type": "rule"},
            {"type": "rule", "rule_0_json": "{"},
            {"type": "rule", "rule_0_json": '{"type": "no"}'},
            {"type": "rule", "rule_0_kind": "length", "rule_0_most": "many"},
            {"type": "rule", "rules_json": "{}"},
            {"watch_metadata": "support", "watches": "true"},
        ],
    )
    async def test_what_is_wrong_is_said_and_nothing_is_lost(
        self, owner: Browser, url: str, wrong: dict[str, str]
    ) -> None:
        page = await owner.send(f"{url}/new", 400, **LLM | {"max_per_hour": "7"} | wrong)
        assert 'role="alert"' in page
        assert 'value="7"' in page


class TestRules:
    async def test_one_more_and_one_less_keep_what_was_filled_in(self, owner: Browser, url: str) -> None:
        form = {"type": "rule", "name": "brief", "rule_0_kind": "length", "rule_0_most": "7"}
        page = await owner.send(f"{url}/new", **form, do="add", new_rule="regex")
        assert "2. Matches a pattern" in page
        assert 'name="rule_0_most" type="number" value="7"' in page
        assert 'value="brief"' in page
        more = {"rule_1_kind": "regex", "rule_1_pattern": "no"}
        page = await owner.send(f"{url}/new", **form, **more, do="remove:0")
        assert "1. Matches a pattern" in page
        assert 'name="rule_0_pattern" type="text" value="no"' in page
        assert "Has a length</legend>" not in page

    async def test_after_each_button_something_has_the_focus(self, owner: Browser, url: str) -> None:
        form = {"type": "rule", "name": "brief", "rule_0_kind": "refusal", "rule_1_kind": "json"}
        for do, focused in (("add", "rule-2"), ("remove:0", "rule-0"), ("remove:1", None), ("fields", None)):
            page = await owner.send(f"{url}/new", **form, do=do, new_rule="regex")
            [tag] = re.findall(r"<[^>]* autofocus>", page)
            assert (f'id="{focused}"' if focused else "<h2 ") in tag
        assert 'id="do-json"' in await owner.send(f"{url}/new", **form, do="json")

    async def test_another_page_may_propose_some(self, owner: Browser, url: str) -> None:
        page = await owner.open(f"{url}/new?type=rule&name=brief&rule=length&rule=json&rule=nothing")
        assert re.findall(r"<legend>(\d\. [^<]*)", page) == ["1. Has a length", "2. Is JSON"]
        assert 'value="brief"' in page

    async def test_also_with_what_it_says_in_them(self, owner: Browser, url: str) -> None:
        rules = '[{"type": "length", "unit": "words", "most": 200}, {"type": "new one"}]'
        page = await owner.open(f"{url}/new?type=rule&rules_json={quote(rules)}")
        assert 'name="rule_0_most" type="number" value="200"' in page
        assert '"new one"' in unescape(page)
        assert "This is no JSON" in text_of(await owner.open(f"{url}/new?type=rule&rules_json=[", 400))

    async def test_as_json_and_back(self, owner: Browser, url: str) -> None:
        form = {"type": "rule", "rule_0_kind": "json", "rule_0_object": "true"}
        page = await owner.send(f"{url}/new", **form, do="json")
        assert "<legend>" not in page
        assert "&#34;object&#34;: true" in page
        page = await owner.send(f"{url}/new", type="rule", rules_json='[{"type": "json", "object": true}]', do="fields")
        assert 'name="rule_0_object" type="checkbox" value="true" checked' in page

    async def test_what_is_wrong_is_beside_its_field(self, owner: Browser, url: str) -> None:
        form = {"type": "rule", "name": "x", "rule_0_kind": "refusal", "rule_1_kind": "regex", "rule_1_pattern": "("}
        page = await owner.send(f"{url}/new", 400, **form)
        field = re.findall(r'<input id="f-rule_1_pattern"[^>]*>', page)[0]
        assert 'aria-invalid="true"' in field

    async def test_they_are_tried_on_what_was_pasted(self, owner: Browser, url: str) -> None:
        form = {"type": "rule", "rule_0_kind": "length", "rule_0_unit": "words", "rule_0_most": "2"}
        page = text_of(await owner.send(f"{url}/new", **form, do="try", try_answer="one two three"))
        assert "The answer does not pass" in page
        assert "The answer has 3 words." in page
        assert "The answer passes" in text_of(await owner.send(f"{url}/new", **form, do="try", try_answer="one"))

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [({}, "try_answer"), ({"try_exchange": "req_none"}, "try_exchange"), ({"try_answer": "x", "rule_0_least": "-1"}, "rule_0_most")],
    )  # fmt: skip
    async def test_what_cannot_be_tried_is_beside_its_field(
        self, owner: Browser, url: str, wrong: dict[str, str], field: str
    ) -> None:
        form = {"type": "rule", "rule_0_kind": "length"} | wrong
        page = await owner.send(f"{url}/new", 404 if "try_exchange" in wrong else 400, **form, do="try")
        assert 'aria-invalid="true"' in re.findall(rf'id="f-{field}"[^>]*>', page)[0]

    @pytest.mark.parametrize(
        "wrong",
        [{}, {"rules_json": "{"}, {"rules_json": "[]"}, {"rules_json": '[{"type": "regex", "pattern": "("}]'}],
    )
    async def test_a_refusal_is_in_the_part_that_the_button_replaces(
        self, owner: Browser, url: str, wrong: dict[str, str]
    ) -> None:
        page = await owner.send(f"{url}/new", 400, type="rule", name="x", try_answer="x", do="try", **wrong)
        replaced = page[page.index('id="rules"') : page.index("</section>", page.index('id="rules"'))]
        assert page.count('role="alert"') == replaced.count('role="alert"') == 1
        whole = re.findall(r'<textarea id="f-rules_json"[^>]*>', replaced)[0]
        assert ('aria-invalid="true"' in whole) is bool(wrong)

    async def test_one_that_no_field_takes_is_said_too(
        self, owner: Browser, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def busy(*_: Any) -> None:
            raise ApiRefused(503, {"message": "Too many rules are tried at once."})

        monkeypatch.setattr(judges, "tried", busy)
        page = await owner.send(f"{url}/new", 503, type="rule", rule_0_kind="refusal", do="try")
        assert "Too many rules are tried at once." in page[page.index('id="rules"') :]

    async def test_a_rule_as_json_is_refused_beside_it_when_it_is_kept(self, owner: Browser, url: str) -> None:
        faulty = '[{"type": "regex", "pattern": "("}]'
        page = await owner.send(f"{url}/new", 400, type="rule", name="x", rules_json=faulty)
        assert 'aria-invalid="true"' in re.findall(r'<textarea id="f-rules_json"[^>]*>', page)[0]


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

    async def test_a_seed_that_the_form_does_not_show_stays_and_makes_no_version(
        self, owner: Browser, url: str, project_id: str
    ) -> None:
        one = await made(owner, url, kept='{"sampling": {"seed": 7}}', watches="true", rate="10")
        before = await kept(owner, one, project_id)
        assert before["version"]["spec"]["sampling"] == {"seed": 7}
        form = await owner.open(f"{one}/edit")
        hidden = re.findall(r'name="kept" value="([^"]*)"', form)[0].replace("&#34;", '"')
        await owner.send(f"{one}/edit", **LLM, kept=hidden, watches="true", rate="10", max_per_hour="5")
        after = await kept(owner, one, project_id)
        assert after["version"] == before["version"]
        assert after["watch"]["max_per_hour"] == 5

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
