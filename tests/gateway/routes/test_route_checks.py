"""/v1/routes with checks: rules of their own, and those of a judge."""

from typing import Any

import httpx
import pytest

from tests.conftest import chat
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
ROUTES = "/v1/routes"
JSON = [{"type": "json"}]
OTHER = [{"type": "refusal"}]
DEFAULTS = {"judge": None, "judge_version_id": None, "mode": "flag", "timeout_ms": 500}


async def post(admin: Client, checks: Any, project: str | None = None, name: str = "bot") -> httpx.Response:
    body = {"name": name, "project_id": project, "targets": [{"model": "echo"}], "checks": checks}
    return await admin.post(ROUTES, json=body)


async def made(admin: Client, checks: Any, project: str | None = None) -> dict[str, Any]:
    answer = await post(admin, checks, project)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def judge(client: Client, spec: dict[str, Any], name: str = "house") -> dict[str, Any]:
    answer = await client.post("/v1/judges", json={"name": name, "criterion": "thumbs", "spec": spec})
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestRules:
    async def test_are_shown_and_kept_by_every_revision(self, admin: Client) -> None:
        route = await made(admin, [{"name": "form", "rules": JSON}])
        assert route["checks"] == [{"name": "form", "rules": JSON} | DEFAULTS]
        url = f"{ROUTES}/{route['id']}"
        changed = (await admin.post(url, json={"checks": []})).json()
        assert (changed["revision"], changed["checks"]) == (2, [])
        back = (await admin.post(f"{url}/rollback", json={})).json()
        assert back["checks"] == route["checks"]
        same = (await admin.post(url, json={"checks": back["checks"]})).json()
        assert same["revision"] == back["revision"]

    @pytest.mark.parametrize(
        ("check", "param", "said"),
        [
            ({"name": "a b", "rules": JSON}, "checks[0].name", "letters"),
            ({"name": "a"}, "checks[0].rules", "1 to 30 rules"),
            ({"name": "a", "rules": JSON, "mode": "stop"}, "checks[0].mode", ""),
            ({"name": "a", "rules": JSON, "timeout_ms": 9}, "checks[0].timeout_ms", "10 to 10000"),
            ({"name": "a", "rules": JSON, "judge": "x"}, "checks[0].judge", "leave `rules` out"),
            ({"name": "a", "rules": JSON, "judge_version_id": "x"}, "checks[0].judge_version_id", "filled in"),
            ({"name": "a", "rules": [{"type": "jsn"}]}, "checks[0].rules[0].type", "jsn"),
            ({"name": "a", "rules": [*JSON, {"type": "regex", "pattern": "("}]}, "checks[0].rules[1].pattern", ""),
            ({"name": "a", "rules": [{"type": "json", "fence": True}]}, "checks[0].rules[0]", "fence"),
        ],
    )
    async def test_that_make_no_sense_are_refused(
        self, admin: Client, check: dict[str, Any], param: str, said: str
    ) -> None:
        error = error_in(await post(admin, [check]), 400)
        assert error["param"] == param
        assert said in error["message"]
        assert (await admin.get(ROUTES)).json()["data"] == []

    async def test_a_change_is_looked_at_as_well(self, admin: Client) -> None:
        route = await made(admin, [])
        changed = await admin.post(f"{ROUTES}/{route['id']}", json={"checks": [{"name": "a", "rules": [{}]}]})
        assert error_in(changed, 400)["param"].startswith("checks[0].rules[0]")


class TestJudges:
    async def test_a_route_has_the_rules_that_its_judge_had(
        self, admin: Client, client: Client, project_key: dict[str, Any]
    ) -> None:
        by = await judge(client, {"type": "rule", "rules": JSON})
        project = project_key["project_id"]
        route = await made(admin, [{"name": "form", "judge": "house"}], project)
        [check] = route["checks"]
        assert (check["rules"], check["judge_version_id"]) == (JSON, by["version"]["id"])
        await client.post(f"/v1/judges/{by['id']}", json={"spec": {"type": "rule", "rules": OTHER}})
        url = f"{ROUTES}/{route['id']}"
        assert (await admin.get(url)).json()["checks"] == [check]
        again = (await admin.post(url, json={"checks": [check]})).json()
        assert (again["revision"], again["checks"][0]["rules"]) == (2, OTHER)
        assert again["checks"][0]["judge_version_id"] != check["judge_version_id"]

    async def test_their_verdicts_are_that_judges(
        self, admin: Client, client: Client, project_key: dict[str, Any], sv: Any
    ) -> None:
        by = await judge(client, {"type": "rule", "rules": JSON})
        await made(
            admin,
            [{"name": "form", "judge": by["id"], "mode": "block", "timeout_ms": 10_000}],
            project_key["project_id"],
        )
        answer = await client.post("/v1/chat/completions", json=chat("bot"))
        assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
        await sv.drain.drain()
        [told] = (await client.get("/v1/judgments")).json()["data"]
        assert (told["judge_version_id"], told["criterion"], told["passed"]) == (by["version"]["id"], "thumbs", False)

    async def test_of_nobody_and_of_models_are_refused(
        self, admin: Client, client: Client, stranger: Client, project_key: dict[str, Any]
    ) -> None:
        await judge(client, {"type": "llm", "model": "echo"}, "model")
        await judge(stranger, {"type": "rule", "rules": JSON}, "theirs")
        project = project_key["project_id"]
        for name, said in (("model", "too long"), ("theirs", "no judge `theirs`"), ("none", "no judge `none`")):
            error = error_in(await post(admin, [{"name": "a", "judge": name}], project), 400)
            assert error["param"] == "checks[0].judge"
            assert said in error["message"]

    async def test_need_a_route_of_a_project(self, admin: Client, client: Client) -> None:
        await judge(client, {"type": "rule", "rules": JSON})
        error = error_in(await post(admin, [{"name": "a", "judge": "house"}]), 400)
        assert "project_id" in error["message"]
