"""Chat without scripts, and what the page offers."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add

pytestmark = pytest.mark.anyio


def offered(html: str, name: str = "model") -> list[str]:
    """Values of a select."""
    [select] = re.findall(rf'<select id="f-{name}".*?</select>', html, flags=re.DOTALL)
    return re.findall(r'<option value="([^"]*)"', select)


class TestThePage:
    async def test_offers_what_the_project_may_call(self, owner: Browser, project_id: str) -> None:
        page = await owner.open(f"/console/projects/{project_id}/chat?model=echo")
        assert "echo" in offered(page)
        assert '<option value="echo" selected>' in page

    async def test_is_not_for_readers(self, app: App, admin: httpx.AsyncClient, project_id: str) -> None:
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            page = await browser.open(f"/console/projects/{project_id}/chat")
        assert "Readers do not call models" in text_of(page)
        assert "data-chat" not in page


class TestWithoutScripts:
    async def test_a_question_is_answered(self, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/chat"
        page = await owner.send(url, model="echo", message="Where is <my> order?", temperature="0.5")
        assert text_of(page).count("Where is <my> order?") == 2

    async def test_a_refusal_is_said_in_the_words_of_the_api(self, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/chat"
        page = text_of(await owner.send(url, 404, model="nothing", message="Where is my order?"))
        assert "The model `nothing` does not exist" in page
        assert "Where is my order?" in page

    async def test_a_forged_form_asks_nobody(self, owner: Browser, project_id: str, upstream: Any) -> None:
        url = f"/console/projects/{project_id}/chat"
        answer = await owner.client.post(url, data={"model": "echo", "message": "hello", "_csrf": "made up"})
        assert answer.status_code == 403
        assert upstream.requests == []
