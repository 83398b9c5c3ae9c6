"""A table becomes a training file, step by step."""

import re
from typing import Any

import httpx
import pytest

from tests.admin.console.browsers import Browser, text_of

pytestmark = pytest.mark.anyio

GOOD = "".join(
    f"Where is my parcel with the number {each} by now?,It is on its way since {each} o'clock.\n" for each in range(30)
)
TABLE = f"question,answer\n{GOOD}Where is my parcel with the number 1 by now?,It is on its way since 1 o'clock.\nWhen?,S\ufffdon.\n"
UNCLEAR = TABLE.replace("question,answer", "alpha,beta")


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/datasets/import"


async def uploaded(owner: Browser, url: str, content: str = TABLE, status: int = 200) -> str:
    """The page that comes after a file is sent without scripts."""
    token = (await owner.client.get("/v1/sessions/current")).json()["csrf_token"]
    answer = await owner.client.post(url, data={"_csrf": token}, files={"file": ("faq.csv", content.encode())})
    assert answer.status_code == status, answer.text
    return answer.text


def carried(page: str) -> dict[str, Any]:
    """What the form has when nothing is changed."""
    inputs = re.findall(r'<input type="hidden" name="(?!_csrf)(\w+)" value="([^"]*)"', page)
    chosen = re.findall(r'<select id="[^"]+" name="(\w+)">.*?</select>', page)
    fields = {name: value.replace("&#34;", '"') for name, value in inputs}
    for name in chosen:
        select = page.partition(f'name="{name}">')[2].partition("</select>")[0]
        fields |= {name: each for each in re.findall(r'value="([^"]*)" selected', select)}  # noqa: B035 one at most
    ticked: dict[str, list[str]] = {}
    for name, value in re.findall(r'type="checkbox" id="[^"]+" name="(\w+)" value="(\w+)" checked', page):
        ticked.setdefault(name, []).append(value)
    return fields | ticked | {"split": "20"}


async def files(owner: Browser, project_id: str) -> list[dict[str, Any]]:
    answer: httpx.Response = await owner.client.get("/v1/files", headers={"openai-project": project_id})
    return answer.json()["data"]


class TestLooking:
    async def test_shows_columns_report_and_rows_with_their_scores(self, owner: Browser, url: str) -> None:
        text = text_of(await uploaded(owner, url))
        assert "question Where is my parcel with the number 0 by now? 0.0% Question" in text
        assert "Leave out repeats" in text
        assert "Row 1 100 of 100" in text

    async def test_nothing_is_trained_on_yet_and_the_source_goes_after_a_day(
        self, owner: Browser, url: str, project_id: str
    ) -> None:
        await uploaded(owner, url)
        [source] = await files(owner, project_id)
        assert source["purpose"] == "user_data"
        assert source["expires_at"] - source["created_at"] == 86_400

    async def test_no_file_is_said(self, owner: Browser, url: str) -> None:
        assert "Choose a file first." in text_of(await owner.send(url, 400))

    async def test_what_cannot_be_read_is_said(self, owner: Browser, url: str) -> None:
        page = await uploaded(owner, url, "PAR1 and nothing that is a table", 400)
        assert 'role="alert"' in page


class TestMapping:
    async def test_is_asked_for_and_taken(self, owner: Browser, url: str) -> None:
        rows = "".join(f"{each},{each * 7}\n" for each in range(20))
        page = await uploaded(owner, url, f"alpha,beta\n{rows}")
        assert "Which column is what?" in text_of(page)
        mapped = await owner.send(url, **carried(page) | {"map_user": "alpha", "map_assistant": "beta"})
        assert "your mapping" in text_of(mapped)
        again = await owner.send(url, **carried(mapped))
        assert "your mapping" in text_of(again), "it stays when something else is changed"

    async def test_what_was_detected_is_not_sent_back_as_a_mapping(self, owner: Browser, url: str) -> None:
        page = await uploaded(owner, url)
        assert "your mapping" not in text_of(await owner.send(url, **carried(page)))


class TestFixing:
    async def test_in_one_click_and_back(self, owner: Browser, url: str) -> None:
        page = await uploaded(owner, url)
        fixed = await owner.send(url, **carried(page) | {"leave_out": ["duplicates"]})
        assert "Repeats are left out" in text_of(fixed)
        assert "left out: the same as an earlier row" in text_of(fixed)
        kept = carried(fixed)
        assert kept["leave_out"] == ["duplicates"]
        del kept["leave_out"]
        assert "Leave out repeats" in text_of(await owner.send(url, **kept))

    async def test_single_rows(self, owner: Browser, url: str) -> None:
        page = await uploaded(owner, url)
        after = await owner.send(url, **carried(page) | {"excluded_rows": ["1"]})
        assert "Row 1 is left out" in text_of(after)
        assert carried(after)["excluded_rows"] == ["1"]
        assert "Row 2 100 of 100" in text_of(after)


class TestStoring:
    async def test_makes_the_files_and_says_where_they_are(self, owner: Browser, url: str, project_id: str) -> None:
        page = await uploaded(owner, url)
        done = await owner.send(url, **carried(page) | {"do": "store", "leave_out": ["duplicates", "encoding"]})
        assert "30 of 32 rows were converted, 2 were skipped. They are stored." in text_of(done)
        made = {each["id"] for each in await files(owner, project_id) if each["purpose"] == "fine-tune"}
        assert len(made) == 2
        [link] = re.findall(r"fine-tuning/new\?data=([\w,-]+)", done)
        assert set(link.split(",")) == made

    async def test_refused_the_form_is_there_still(self, owner: Browser, url: str) -> None:
        page = await uploaded(owner, url)
        refused = await owner.send(url, 400, **carried(page) | {"do": "store", "split": "90"})
        assert 'value="90"' in refused
        assert "Store" in text_of(refused)
