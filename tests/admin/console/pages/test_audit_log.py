"""The audit log: filtered, paged, and as a file."""

import csv
import io
import re

import httpx
import pytest

from admin.console.pages import audit_log
from tests.admin.console.browsers import EMAIL, Browser, text_of
from tests.gateway.people import add

pytestmark = pytest.mark.anyio
URL = "/console/audit-log"
BEN = "ben@example.com"


def types(page: str) -> list[str]:
    return re.findall(r'<td class="nowrap"><a[^>]+>([^<]+)</a>', page)


class TestTheList:
    async def test_who_did_what_from_where(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        ben = await add(admin, BEN)
        await owner.send(f"/console/people/{ben['id']}", name="=Ben", role="owner")
        page = await owner.open(URL)
        assert types(page)[:3] == ["user.updated", "user.added", "login.succeeded"]
        assert f"{EMAIL} browser user.updated {ben['id']} name =Ben role owner" in text_of(page)

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("event_type=user.added", ["user.added", "user.added"]),
            (f"actor_email={EMAIL.upper()}", ["login.succeeded"]),
            ("from=2999-01-01T00:00", []),
            ("until=2001-01-01T00:00", []),
            ("event_type=user.added&from=2001-01-01T00:00", ["user.added", "user.added"]),
            ("project=proj_nobody", []),
        ],
    )
    async def test_filters_are_in_the_url(
        self, owner: Browser, admin: httpx.AsyncClient, query: str, found: list[str]
    ) -> None:
        await add(admin, BEN)
        page = await owner.open(f"{URL}?{query}")
        assert types(page) == found
        assert ("Nothing matches" in text_of(page)) is not bool(found)

    async def test_by_what_was_changed(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        ben = await add(admin, BEN)
        assert types(await owner.open(f"{URL}?resource={ben['id']}")) == ["user.added"]

    async def test_next_pages_keep_the_filters(
        self, owner: Browser, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_log, "PAGE", 1)
        await add(admin, BEN)
        page = await owner.open(f"{URL}?event_type=user.added")
        [following] = re.findall(r'<a rel="next" href="([^"]+)"', page)
        second = await owner.open(following.replace("&amp;", "&"))
        assert types(second) == types(page) == ["user.added"]
        assert 'rel="next"' not in second
        assert second != page

    async def test_a_moment_that_is_none_is_said_beside_its_field(self, owner: Browser) -> None:
        page = await owner.open(f"{URL}?from=soon", 400)
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == ["from"]


class TestTheFile:
    async def test_csv_of_what_is_filtered_has_no_formulas(
        self, owner: Browser, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_log, "AT_A_TIME", 1)
        ben = await add(admin, BEN)
        await owner.send(f"/console/people/{ben['id']}", name="Ben", role="owner")
        await admin.post(f"/v1/organization/users/{ben['id']}", json={"name": "B"}, headers={"user-agent": "=cmd()"})
        rows = list(csv.DictReader(io.StringIO(await owner.open(f"{URL}/export?resource={ben['id']}&format=csv"))))
        assert [(row["type"], row["changes"]) for row in rows] == [
            ("user.updated", "name: B"),
            ("user.updated", "name: Ben; role: owner"),
            ("user.added", "role: reader"),
        ]
        assert (rows[0]["user_agent"], rows[1]["actor"]) == ("'=cmd()", EMAIL)

    async def test_json_is_what_the_api_says(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        answer = await owner.client.get(f"{URL}/export", params={"event_type": "user.added", "format": "json"})
        listed = (await admin.get("/v1/organization/audit_logs", params={"event_types[]": "user.added"})).json()["data"]
        assert answer.json() == listed
        assert listed
        assert (await owner.client.get(f"{URL}/export?project=x&format=json")).json() == []
