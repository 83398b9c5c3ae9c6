"""/v1/routes: what is made, changed, taken back and refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import update

from gateway.app import build_app
from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.tables import RouteRevisionRow
from gateway.keys.service import ensure_admin_key
from gateway.protocol.routes import Target
from gateway.services import Services
from gateway.settings import EngineSettings, RouteSettings, RoutingSettings, Settings
from tests.conftest import ADMIN_KEY, client_of, create_key
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

ROUTES = "/v1/routes"
ECHO = [{"model": "echo"}]
DEFAULTS = {
    "fallbacks": [],
    "sticky": None,
    "balance": "weight",
    "retries": {"count": 1, "backoff_ms": 200, "max_backoff_ms": 5000},
    "timeouts": {"connect": None, "first_token": None, "idle": None, "total": None},
    "breaker": {"failures": 5, "open_seconds": 10.0},
    "hedge": None,
    "checks": [],
    "few_shot": None,
    "cache": None,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The fake upstream, an engine that nobody calls, an alias, and a route."""
    return msgspec.structs.replace(
        settings,
        engine=EngineSettings(url="http://127.0.0.1:1/v1", model="starter"),
        routing=RoutingSettings(aliases={"short": "echo", "nothing": "gone"}),
        routes=(RouteSettings(name="written", targets=(Target(model="echo"),)),),
    )


async def create(admin: httpx.AsyncClient, name: str = "bot", **fields: Any) -> dict[str, Any]:
    answer = await admin.post(ROUTES, json={"name": name, "targets": ECHO, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def change(admin: httpx.AsyncClient, route: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await admin.post(f"{ROUTES}/{route['id']}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def roll_back(admin: httpx.AsyncClient, route: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = await admin.post(f"{ROUTES}/{route['id']}/rollback", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def read(admin: httpx.AsyncClient, route: dict[str, Any]) -> dict[str, Any]:
    return (await admin.get(f"{ROUTES}/{route['id']}")).json()


async def history(admin: httpx.AsyncClient, route: dict[str, Any]) -> list[dict[str, Any]]:
    return (await admin.get(f"{ROUTES}/{route['id']}/revisions")).json()["data"]


async def written(admin: httpx.AsyncClient) -> dict[str, Any]:
    """The route of the settings."""
    listed = (await admin.get(ROUTES)).json()["data"]
    return next(each for each in listed if each["source"] == "settings")


def models(route: dict[str, Any]) -> list[str]:
    return [target["model"] for target in route["targets"]]


@pytest.fixture
async def tuned(database: Database, project_key: dict[str, Any]) -> str:
    """A fine-tuned model of the first project."""
    return (await add_tuned(database, await add_job(database, project_key))).id


class TestCreate:
    async def test_answers_with_the_whole_route(self, admin: httpx.AsyncClient, sv: Services) -> None:
        targets = [{"model": "short", "weight": 9.0}, {"model": "slow", "weight": 1.0}]
        route = await create(admin, targets=targets, sticky="user", hedge={"after_ms": 500})
        assert route == DEFAULTS | {
            "id": route["id"],
            "object": "route",
            "name": "bot",
            "project_id": None,
            "revision": 1,
            "created_at": route["created_at"],
            "updated_at": route["created_at"],
            "targets": targets,
            "sticky": "user",
            "hedge": {"after_ms": 500},
            "source": "api",
            "problems": [],
        }
        assert route["id"].startswith("route_")
        assert await read(admin, route) == route
        found = sv.route_book.find("bot", "proj_any")
        assert found is not None
        assert found.id == route["id"]

    async def test_of_a_project_answers_its_calls_alone(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        route = await create(admin, project_id=project_key["project_id"])
        assert route["project_id"] == project_key["project_id"]
        assert sv.route_book.find("bot", project_key["project_id"])
        assert sv.route_book.find("bot", "proj_other") is None

    async def test_may_have_the_name_of_a_model(self, admin: httpx.AsyncClient) -> None:
        assert (await create(admin, "echo", targets=[{"model": "echo"}, {"model": "slow"}]))["name"] == "echo"

    async def test_of_a_name_that_is_taken_names_the_route(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        route = await create(admin)
        answer = await admin.post(ROUTES, json={"name": "bot", "targets": ECHO})
        error = error_in(answer, 409)
        assert (error["param"], route["id"] in error["message"]) == ("name", True)
        assert answer.headers["x-should-retry"] == "false"
        await create(admin, project_id=project_key["project_id"])  # another owner's name is another name

    async def test_twice_at_once_makes_one(self, admin: httpx.AsyncClient) -> None:
        body = {"name": "bot", "targets": ECHO}
        answers = await asyncio.gather(*(admin.post(ROUTES, json=body) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        made = next(answer.json()["id"] for answer in answers if answer.status_code == 200)
        assert all(made in answer.json()["error"]["message"] for answer in answers if answer.status_code == 409)

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"name": None}, "name"),
            ({"name": "ft:x"}, "name"),
            ({"name": "a b"}, "name"),
            ({"targets": None}, "targets"),
            ({"targets": []}, "targets"),
            ({"targets": [{"model": "echo", "weight": -1}]}, "targets[0].weight"),
            ({"targets": [{"model": "echo"}, {"model": "echo"}]}, "targets[1].model"),
            ({"targets": [{"model": "echo", "weight_x": 1}]}, "targets[0].weight_x"),
            ({"targets": [{"weight": 1}]}, "targets[0].model"),
            ({"targets": [{"model": "echo", "weight": "many"}]}, "targets[0].weight"),
            ({"fallbacks": [{"model": "slow", "on": ["rain"]}]}, "fallbacks[0].on[0]"),
            ({"balance": "best"}, "balance"),
            ({"retries": {"count": 11}}, "retries.count"),
            ({"timeouts": {"total": 0}}, "timeouts.total"),
            ({"hedge": {"after_ms": 5}}, "hedge"),
            ({"sticky": "key"}, "sticky"),
            ({"colour": "red"}, "colour"),
        ],
    )
    async def test_names_the_field_that_is_wrong(
        self, admin: httpx.AsyncClient, fields: dict[str, Any], param: str
    ) -> None:
        body = {"name": "bot", "targets": ECHO} | fields
        given = {name: value for name, value in body.items() if value is not None}
        assert error_in(await admin.post(ROUTES, json=given), 400)["param"] == param
        assert [each["source"] for each in (await admin.get(ROUTES)).json()["data"]] == ["settings"]

    async def test_two_names_of_one_model_are_one_target(self, admin: httpx.AsyncClient) -> None:
        body = {"name": "bot", "targets": [{"model": "slow"}, {"model": "short"}, {"model": "echo"}]}
        error = error_in(await admin.post(ROUTES, json=body), 400)
        assert (error["param"], "`short` under another name" in error["message"]) == ("targets[2].model", True)

    @pytest.mark.parametrize("place", ["targets", "fallbacks"])
    async def test_models_must_exist_and_not_be_routes(self, admin: httpx.AsyncClient, place: str) -> None:
        param = f"{place}[1].model"
        for model, said in (("gone", "does not exist"), ("nothing", "does not exist"), ("written", "is a route")):
            named = [{"model": "slow"}, {"model": model}]
            error = error_in(await admin.post(ROUTES, json={"name": "bot", "targets": ECHO} | {place: named}), 400)
            assert (error["param"], error["code"]) == (param, "model_not_found")
            assert f"`{model}`" in error["message"]
            assert said in error["message"]

    async def test_a_fine_tuned_model_needs_its_project(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any], tuned: str
    ) -> None:
        body = {"name": "bot", "targets": [{"model": tuned}]}
        error = error_in(await admin.post(ROUTES, json=body), 400)
        assert error["param"] == "targets[0].model"
        assert f"belongs to project {project_key['project_id']}" in error["message"]
        assert "Give the route that `project_id`" in error["message"]
        other = await create_key(admin, "other")
        error = error_in(await admin.post(ROUTES, json=body | {"project_id": other["project_id"]}), 400)
        assert f"POST /v1/fine_tuning/checkpoints/{tuned}/permissions" in error["message"]
        assert models(await create(admin, targets=body["targets"], project_id=project_key["project_id"])) == [tuned]
        permissions = f"/v1/fine_tuning/checkpoints/{tuned}/permissions"
        assert (await admin.post(permissions, json={"project_ids": [other["project_id"]]})).status_code == 200
        assert models(await create(admin, targets=body["targets"], project_id=other["project_id"])) == [tuned]

    async def test_needs_a_project_that_is_there(self, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        body = {"name": "bot", "targets": ECHO}
        assert error_in(await admin.post(ROUTES, json=body | {"project_id": "x"}), 404)["param"] == "project_id"
        await admin.post(f"/v1/organization/projects/{project_key['project_id']}/archive")
        error = error_in(await admin.post(ROUTES, json=body | {"project_id": project_key["project_id"]}), 400)
        assert (error["param"], "archived" in error["message"]) == ("project_id", True)


class TestUpdate:
    async def test_replaces_what_is_given_and_keeps_the_rest(self, admin: httpx.AsyncClient, sv: Services) -> None:
        route = await create(admin, sticky="user", fallbacks=[{"model": "slow", "on": ["timeout"]}])
        changed = await change(admin, route, targets=[{"model": "short", "weight": 3}], timeouts={"total": 5})
        timeouts = DEFAULTS["timeouts"] | {"total": 5.0}  # type: ignore[operator]
        expected = {"revision": 2, "targets": [{"model": "short", "weight": 3.0}], "timeouts": timeouts}
        assert changed == route | expected | {"updated_at": changed["updated_at"]}
        found = sv.route_book.find("bot", "proj_any")
        assert found is not None
        assert found.revision == 2

    async def test_null_switches_off(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin, sticky="user", hedge={"after_ms": 5}, fallbacks=[{"model": "slow"}])
        changed = await change(admin, route, sticky=None, hedge=None)
        assert (changed["sticky"], changed["hedge"], changed["fallbacks"]) == (None, None, route["fallbacks"])

    async def test_nothing_given_is_refused(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        for body in ({}, {"if_revision": 1}):
            error = error_in(await admin.post(f"{ROUTES}/{route['id']}", json=body), 400)
            assert "nothing to change" in error["message"]
        assert (await read(admin, route))["revision"] == 1

    async def test_sent_again_makes_no_revision_so_that_the_way_back_stays(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        changed = await change(admin, route, targets=[{"model": "slow"}])
        assert await change(admin, route, targets=[{"model": "slow"}]) == changed
        assert models(await roll_back(admin, route)) == ["echo"]

    async def test_of_another_revision_than_expected_is_refused(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        await change(admin, route, sticky="user", if_revision=1)
        answer = await admin.post(f"{ROUTES}/{route['id']}", json={"sticky": None, "if_revision": 1})
        error = error_in(answer, 409)
        assert (error["param"], "is at revision 2, not 1" in error["message"]) == ("if_revision", True)
        assert answer.headers["x-should-retry"] == "false"
        assert (await read(admin, route))["sticky"] == "user"

    async def test_many_at_once_all_land_one_after_the_other(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        fields: list[dict[str, Any]] = [
            {"sticky": "user"}, {"balance": "least_load"}, {"breaker": {"failures": 1}}, {"retries": {"count": 3}},
            {"timeouts": {"idle": 7}}, {"fallbacks": [{"model": "slow"}]},
        ]  # fmt: skip
        changed = await asyncio.gather(*(change(admin, route, **each) for each in fields))
        assert sorted(each["revision"] for each in changed) == [2, 3, 4, 5, 6, 7]
        last = await read(admin, route)
        assert (last["sticky"], last["balance"], last["breaker"]["failures"]) == ("user", "least_load", 1)
        assert (last["retries"]["count"], last["timeouts"]["idle"], len(last["fallbacks"])) == (3, 7.0, 1)
        assert [each["number"] for each in await history(admin, route)] == [7, 6, 5, 4, 3, 2, 1]

    async def test_is_checked_like_a_new_one(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin, hedge={"after_ms": 5}, fallbacks=[{"model": "slow"}])
        url = f"{ROUTES}/{route['id']}"
        for body, param in (
            ({"targets": []}, "targets"),
            ({"targets": [{"model": "gone"}]}, "targets[0].model"),
            ({"fallbacks": []}, "hedge"),
            ({"name": "other"}, "name"),
        ):
            assert error_in(await admin.post(url, json=body), 400)["param"] == param
        assert await read(admin, route) == route

    async def test_looks_only_at_the_models_that_are_given(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, project_key: dict[str, Any], tuned: str
    ) -> None:
        route = await create(
            admin, targets=[{"model": tuned}, *ECHO], sticky="user", project_id=project_key["project_id"]
        )
        assert (await client.delete(f"/v1/models/{tuned}")).status_code == 200
        assert (await change(admin, route, sticky=None))["revision"] == 2
        again = await admin.post(f"{ROUTES}/{route['id']}", json={"targets": [{"model": tuned, "weight": 2}, *ECHO]})
        assert error_in(again, 400)["param"] == "targets[0].model"


class TestRollback:
    async def test_makes_a_new_revision_that_repeats_the_one_before(
        self, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        route = await create(admin, sticky="user")
        await change(admin, route, targets=[{"model": "slow"}], sticky=None)
        back = await roll_back(admin, route)
        assert back == route | {"revision": 3, "updated_at": back["updated_at"]}
        found = sv.route_book.find("bot", "proj_any")
        assert found is not None
        assert (found.revision, found.spec.sticky) == (3, "user")
        shown = [(each["number"], each["restores"], each["spec"]["sticky"]) for each in await history(admin, route)]
        assert shown == [(3, 1, "user"), (2, None, None), (1, None, "user")]

    async def test_a_second_goes_further_back_and_never_to_what_the_first_undid(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        for model in ("crlf", "slow"):
            await change(admin, route, targets=[{"model": model}])
        assert models(await roll_back(admin, route)) == ["crlf"]
        assert models(await roll_back(admin, route)) == ["echo"]
        error = error_in(await admin.post(f"{ROUTES}/{route['id']}/rollback"), 409)
        assert "none to go back to" in error["message"]
        shown = [(each["number"], each["restores"]) for each in await history(admin, route)]
        assert shown == [(5, 1), (4, 2), (3, None), (2, None), (1, None)]
        await change(admin, route, targets=[{"model": "slow"}])
        assert models(await roll_back(admin, route)) == ["echo"]
        assert models(await roll_back(admin, route, revision=3)) == ["slow"]

    async def test_goes_to_any_revision(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        for count in (2, 3, 4):
            await change(admin, route, retries={"count": count})
        back = await roll_back(admin, route, revision=2)
        assert (back["revision"], back["retries"]["count"]) == (5, 2)
        assert (await history(admin, route))[0]["restores"] == 2

    async def test_needs_no_body(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        await change(admin, route, sticky="user")
        assert (await admin.post(f"{ROUTES}/{route['id']}/rollback")).json()["sticky"] is None

    async def test_pressed_twice_with_the_revision_goes_back_once(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        await change(admin, route, targets=[{"model": "slow"}])
        url = f"{ROUTES}/{route['id']}/rollback"
        answers = await asyncio.gather(*(admin.post(url, json={"if_revision": 2}) for _ in range(2)))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert models(await read(admin, route)) == ["echo"]

    async def test_of_what_never_was_is_refused(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        url = f"{ROUTES}/{route['id']}/rollback"
        assert "none to go back to" in error_in(await admin.post(url), 409)["message"]
        assert "in force already" in error_in(await admin.post(url, json={"revision": 1}), 409)["message"]
        for number in (0, 2, -1, 10**30):
            error = error_in(await admin.post(url, json={"revision": number}), 400)
            assert (error["param"], "1 to 1" in error["message"]) == ("revision", True)
        assert (await read(admin, route))["revision"] == 1

    async def test_goes_on_with_what_is_left_of_a_revision_but_needs_something(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, project_key: dict[str, Any], tuned: str
    ) -> None:
        owner = {"project_id": project_key["project_id"]}
        both = await create(admin, "both", targets=[{"model": tuned}, *ECHO], **owner)
        alone = await create(admin, "alone", targets=[{"model": tuned}, {"model": "echo", "weight": 0}], **owner)
        caught = await create(admin, "caught", targets=[{"model": tuned}], fallbacks=[{"model": "echo"}], **owner)
        for route in (both, alone, caught):
            await change(admin, route, targets=[{"model": "slow"}])
        await client.delete(f"/v1/models/{tuned}")
        gone = [f"target `{tuned}` does not exist any more"]
        assert (await roll_back(admin, both))["problems"] == gone
        assert (await roll_back(admin, caught))["problems"] == gone
        error = error_in(await admin.post(f"{ROUTES}/{alone['id']}/rollback"), 409)
        assert f"nothing left that can be called: `{tuned}`" in error["message"]


class TestDelete:
    async def test_frees_the_name(self, admin: httpx.AsyncClient, sv: Services) -> None:
        route = await create(admin)
        answer = await admin.delete(f"{ROUTES}/{route['id']}")
        assert answer.json() == {"id": route["id"], "object": "route.deleted", "deleted": True}
        assert sv.route_book.find("bot", "proj_any") is None
        for method, path in (("GET", ""), ("POST", ""), ("DELETE", ""), ("GET", "/revisions"), ("POST", "/rollback")):
            body = {} if path else {"sticky": "user"}
            answer = await admin.request(method, f"{ROUTES}/{route['id']}{path}", json=body)
            assert error_in(answer, 404)["param"] == "route_id"
        assert (await create(admin))["id"] != route["id"]

    async def test_while_others_change_it_ends_them(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        url = f"{ROUTES}/{route['id']}"
        answers = await asyncio.gather(
            admin.delete(url), *(admin.post(url, json={"sticky": "user"}) for _ in range(3)), admin.delete(url)
        )
        assert {answer.status_code for answer in answers} <= {200, 404}
        assert [answers[0].status_code, answers[-1].status_code].count(200) == 1
        error_in(await admin.get(url), 404)


class TestRevisions:
    async def test_say_what_who_and_when(self, admin: httpx.AsyncClient, sv: Services) -> None:
        route = await create(admin, sticky="user")
        [revision] = await history(admin, route)
        key = sv.keys.authenticate(f"Bearer {ADMIN_KEY}".encode())
        assert revision == {
            "id": f"{route['id']}.1",
            "object": "route.revision",
            "route_id": route["id"],
            "number": 1,
            "spec": {name: route[name] for name in ("targets", *DEFAULTS)},
            "created_at": route["created_at"],
            "created_by": key.id,
            "restores": None,
        }

    async def test_are_paged_both_ways(self, admin: httpx.AsyncClient) -> None:
        route = await create(admin)
        for count in (2, 3, 4, 5):
            await change(admin, route, retries={"count": count})
        for order, expected in (("desc", [5, 4, 3, 2, 1]), ("asc", [1, 2, 3, 4, 5])):
            pages = [page async for page in paged(admin, f"{ROUTES}/{route['id']}/revisions", order=order)]
            assert [[each["number"] for each in page] for page in pages] == [expected[:2], expected[2:4], expected[4:]]

    async def test_a_strange_cursor_is_refused(self, admin: httpx.AsyncClient) -> None:
        route, other = await create(admin), await create(admin, "other")
        for after in ("x", f"{other['id']}.1", f"{route['id']}.", f"{route['id']}.-1", f"{route['id']}.{'9' * 30}"):
            answer = await admin.get(f"{ROUTES}/{route['id']}/revisions", params={"after": after})
            assert error_in(answer, 400)["param"] == "after"


async def paged(admin: httpx.AsyncClient, url: str, **query: Any) -> AsyncIterator[list[dict[str, Any]]]:
    page: dict[str, Any] = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = (await admin.get(url, params={"limit": 2} | query | after)).json()
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        yield page["data"]


class TestList:
    async def test_shows_the_settings_first_and_pages(self, admin: httpx.AsyncClient) -> None:
        made = [await create(admin, name) for name in "abcd"]
        expected = ["written", *(each["name"] for each in made)]
        for order, names in (("asc", expected), ("desc", expected[::-1])):
            pages = [page async for page in paged(admin, ROUTES, order=order)]
            assert [route["name"] for page in pages for route in page] == names
        assert (await admin.get(ROUTES)).json()["data"][1:] == made

    async def test_of_one_project(self, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        await create(admin, "everybody")
        own = await create(admin, "own", project_id=project_key["project_id"])
        listed = (await admin.get(ROUTES, params={"project_id": project_key["project_id"]})).json()
        assert listed["data"] == [own]

    async def test_an_unknown_cursor_is_refused(self, admin: httpx.AsyncClient) -> None:
        assert error_in(await admin.get(ROUTES, params={"after": "route_x"}), 400)["param"] == "after"


class TestOfTheSettings:
    async def test_is_shown_and_has_no_history(self, admin: httpx.AsyncClient) -> None:
        route = await written(admin)
        assert (route["name"], route["revision"], route["project_id"], route["problems"]) == ("written", 0, None, [])
        assert await read(admin, route) == route
        assert await history(admin, route) == []

    async def test_cannot_be_changed_here(self, admin: httpx.AsyncClient) -> None:
        route = await written(admin)
        url = f"{ROUTES}/{route['id']}"
        for method, path in (("POST", url), ("DELETE", url), ("POST", f"{url}/rollback")):
            error = error_in(await admin.request(method, path, json={"sticky": "user"} if path == url else {}), 409)
            assert "stands in the settings ([[routes]])" in error["message"]

    async def test_gives_way_to_one_of_the_same_name(self, admin: httpx.AsyncClient, sv: Services) -> None:
        made = await create(admin, "written", targets=[{"model": "slow"}])
        found = sv.route_book.find("written", "proj_any")
        assert found is not None
        assert found.id == made["id"]
        said = [f"{made['id']}, made with POST /v1/routes, has the same name and answers instead"]
        assert (await written(admin))["problems"] == said


class TestProblems:
    async def test_tell_of_models_that_have_gone(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, project_key: dict[str, Any], tuned: str
    ) -> None:
        route = await create(
            admin, targets=[*ECHO, {"model": tuned}], fallbacks=[{"model": tuned}], project_id=project_key["project_id"]
        )
        assert route["problems"] == []
        assert (await client.delete(f"/v1/models/{tuned}")).status_code == 200
        said = [f"target `{tuned}` does not exist any more", f"fallback `{tuned}` does not exist any more"]
        assert (await read(admin, route))["problems"] == said
        assert (await admin.get(ROUTES)).json()["data"][1]["problems"] == said

    async def test_tell_of_models_that_are_not_shared_any_more(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any], tuned: str
    ) -> None:
        other = await create_key(admin, "other")
        url = f"/v1/fine_tuning/checkpoints/{tuned}/permissions"
        permission = (await admin.post(url, json={"project_ids": [other["project_id"]]})).json()["data"][0]
        route = await create(admin, targets=[*ECHO, {"model": tuned}], project_id=other["project_id"])
        await admin.delete(f"{url}/{permission['id']}")
        owner = project_key["project_id"]
        said = f"target `{tuned}` belongs to project {owner} and is not shared with {other['project_id']}"
        assert (await read(admin, route))["problems"] == [said]

    async def test_of_the_settings_tell_what_never_was(self, settings: Settings, database: Database) -> None:
        routes = (RouteSettings(name="typo", targets=(Target(model="eccho"),)),)
        async with started(msgspec.structs.replace(settings, routes=routes), database) as admin:
            assert (await written(admin))["problems"] == ["target `eccho` does not exist"]

    async def test_of_a_newer_version_are_shown_and_can_be_rolled_back(
        self, admin: httpx.AsyncClient, database: Database
    ) -> None:
        route = await create(admin)
        await change(admin, route, sticky="user")
        async with database.session() as session:
            await session.execute(
                update(RouteRevisionRow)
                .where(RouteRevisionRow.route_id == route["id"], RouteRevisionRow.number == 2)
                .values(spec={"targets": [], "of_tomorrow": 1})
            )
            await touch(session, "routes")
        shown = await read(admin, route)
        assert (shown["revision"], shown["targets"], len(shown["problems"])) == (2, [], 1)
        assert "another version of the service" in shown["problems"][0]
        assert (await admin.get(ROUTES)).json()["data"][1] == shown
        answer = await admin.post(f"{ROUTES}/{route['id']}", json={"sticky": None})
        assert "Roll it back" in error_in(answer, 409)["message"]
        assert models(await roll_back(admin, route)) == ["echo"]


@asynccontextmanager
async def started(settings: Settings, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """An application with other settings, and its administrator."""
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=settings.secret_key.reveal())
    app = build_app(settings)
    async with app.lifespan(), client_of(app, ADMIN_KEY) as admin:
        yield admin
