"""/v1/judges: made, changed by versions, asked, followed, archived."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import JudgingTaskRow
from gateway.kit.sealing import Sealer, read_keys
from gateway.services import Services
from tests.conftest import chat
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
LLM = {"type": "llm", "model": "echo"}
RULES = {"type": "rule", "rules": [{"type": "json"}]}


async def make(client: Client, **changes: Any) -> dict[str, Any]:
    body = {"name": "helpfulness", "criterion": "helpful", "spec": LLM} | changes
    answer = await client.post("/v1/judges", json={name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def update(client: Client, id: str, **changes: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/judges/{id}", json=changes)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def exchange_ids(client: Client, sv: Services, count: int, **more: Any) -> list[str]:
    answers = [await client.post("/v1/chat/completions", json=chat("echo", **more)) for _ in range(count)]
    await sv.drain.drain()
    return [answer.headers["x-request-id"] for answer in answers]


class TestCreate:
    async def test_shows_everything_with_its_defaults(self, client: Client, project_key: dict[str, Any]) -> None:
        made = await make(client, watch={"rate": 0.5, "routes": ["way"]})
        assert made["id"].startswith("judge_")
        assert (made["object"], made["name"], made["kind"], made["archived_at"]) == (
            "judge",
            "helpfulness",
            "llm",
            None,
        )
        assert made["min_kappa"] == 0.4
        assert made["watch"] == {"rate": 0.5, "routes": ["way"], "models": [], "metadata": {}, "max_per_hour": None}
        assert made["watched_since"] is not None
        version = made["version"]
        assert version["id"].startswith("judgever_")
        assert (version["number"], version["criterion"], version["criterion_version"]) == (1, "helpful", 1)
        assert version["created_by"] == project_key["id"]
        assert version["spec"]["repeats"] == 1
        assert len(version["spec_sha256"]) == 64
        assert (await client.get(f"/v1/judges/{made['id']}")).json() == made
        assert (await client.get("/v1/judges/helpfulness")).json() == made

    async def test_rules_need_no_criterion(self, client: Client) -> None:
        made = await make(client, name="form", criterion=None, spec=RULES)
        assert (made["kind"], made["version"]["criterion"]) == ("rule", "rules.form")

    async def test_a_criterion_can_be_made_with_it(self, client: Client) -> None:
        made = await make(client, criterion={"name": "tone", "kind": "boolean", "description": "Is it kind?"})
        found = (await client.get(f"/v1/criteria/{made['version']['criterion_id']}")).json()
        assert (found["name"], found["description"]) == ("tone", "Is it kind?")
        again = await make(client, name="second", criterion=found["id"])
        assert again["version"]["criterion_id"] == found["id"]

    async def test_warns_of_kin(self, client: Client) -> None:
        made = await make(client, watch={"models": ["ft:echo:org:x:abcdefgh", "other"]})
        (warning,) = made["warnings"]
        assert "'echo' judges 'ft:echo:org:x:abcdefgh'" in warning
        assert (await make(client, name="second"))["warnings"] == []

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"name": "a b"}, "name"),
            ({"name": ""}, "name"),
            ({"criterion": None}, "criterion"),
            ({"criterion": "nothing"}, "criterion"),
            ({"criterion": "comment"}, "criterion"),
            ({"criterion": "correction"}, "criterion"),
            ({"criterion": "helpful", "spec": {**LLM, "model": ""}}, "spec.model"),
            ({"spec": {**LLM, "panel": ["echo"]}}, "spec.panel"),
            ({"spec": {**LLM, "panel": list("abcdefg")}}, "spec.panel"),
            ({"spec": {**LLM, "repeats": 0}}, "spec.repeats"),
            ({"spec": {**LLM, "repeats": 10}}, "spec.repeats"),
            ({"spec": {**LLM, "prompt": "x" * 20_001}}, "spec.prompt"),
            ({"spec": {**LLM, "prompts": ""}}, "spec.prompts"),
            ({"spec": {**LLM, "examples": [{"question": "q", "answer": "a", "result": 6}]}}, "spec.examples[0].result"),
            ({"spec": {**LLM, "combine": "max"}}, "spec.combine"),
            ({"spec": {"type": "rule", "rules": []}}, "spec.rules"),
            ({"spec": {"type": "rule", "rules": [{"type": "regex", "pattern": "("}]}}, "spec.rules[0].pattern"),
            ({"spec": {"type": "oracle"}}, "spec.type"),
            ({"criterion": "preference", "spec": RULES}, "criterion"),
            ({"watch": {"rate": 0}}, "watch.rate"),
            ({"watch": {"rate": 1.1}}, "watch.rate"),
            ({"watch": {"max_per_hour": 0}}, "watch.max_per_hour"),
            ({"watch": {"share": 1}}, "watch.share"),
            ({"criterion": "preference", "watch": {}}, "watch"),
            ({"min_kappa": 2}, "min_kappa"),
        ],
        ids=str,
    )
    async def test_refuses(self, client: Client, changes: dict[str, Any], param: str) -> None:
        body = {"name": "j", "criterion": "helpful", "spec": LLM} | changes
        answer = await client.post("/v1/judges", json={name: each for name, each in body.items() if each is not None})
        assert error_in(answer, 400)["param"] == param
        assert (await client.get("/v1/judges")).json()["data"] == []

    async def test_a_name_is_taken_until_it_is_archived(self, client: Client, stranger: Client) -> None:
        made = await make(client)
        taken = {"name": "helpfulness", "criterion": "clear", "spec": LLM}
        error_in(await client.post("/v1/judges", json=taken), 409)
        await make(stranger)
        await client.delete(f"/v1/judges/{made['id']}")
        assert (await make(client))["id"] != made["id"]

    async def test_models_are_asked_with_a_key_that_must_be_kept_sealed(self, client: Client, sv: Services) -> None:
        object.__setattr__(sv, "sealer", Sealer(read_keys("")))
        asked = {"name": "j", "criterion": "helpful", "spec": LLM}
        assert error_in(await client.post("/v1/judges", json=asked), 400)["code"] == "no_encryption_key"
        await make(client, name="rules", criterion=None, spec=RULES)


class TestUpdate:
    async def test_what_it_does_makes_a_version_and_nothing_else_does(self, client: Client) -> None:
        made = await make(client)
        id, first = made["id"], made["version"]
        renamed = await update(client, id, name="other", min_kappa=0.6, watch={})
        assert (renamed["name"], renamed["min_kappa"], renamed["version"]) == ("other", 0.6, first)
        assert renamed["updated_at"] >= made["updated_at"]
        assert (await update(client, id, spec=LLM))["version"] == first, "it says the same"
        second = (await update(client, id, spec={**LLM, "prompt": "Be strict."}))["version"]
        assert (second["number"], second["id"] != first["id"]) == (2, True)
        third = (await update(client, id, criterion="clear"))["version"]
        assert (third["number"], third["criterion"], third["spec"]) == (3, "clear", second["spec"])
        listed = (await client.get(f"/v1/judges/{id}/versions")).json()["data"]
        assert listed == [third, second, first]

    async def test_another_watch_begins_anew_and_none_ends_it(self, client: Client) -> None:
        made = await make(client, watch={"rate": 0.5})
        same = await update(client, made["id"], watch={"rate": 0.5})
        assert same["watched_since"] == made["watched_since"]
        assert (await update(client, made["id"], watch={"rate": 0.6}))["watch"]["rate"] == 0.6
        ended = await update(client, made["id"], watch=None)
        assert (ended["watch"], ended["watched_since"]) == (None, None)

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"spec": RULES, "criterion": "thumbs"}, "spec.type"),
            ({"criterion": "preference"}, "watch"),
            ({"x": 1}, "x"),
        ],
        ids=str,
    )
    async def test_refuses_and_changes_nothing(self, client: Client, changes: dict[str, Any], param: str) -> None:
        made = await make(client, watch={"rate": 0.5})
        assert error_in(await client.post(f"/v1/judges/{made['id']}", json=changes), 400)["param"] == param
        assert (await client.get(f"/v1/judges/{made['id']}")).json() == made

    async def test_an_archived_one_stays_as_it_is(self, client: Client) -> None:
        made = await make(client, watch={})
        assert (await client.delete(f"/v1/judges/{made['id']}")).json()["deleted"] is True
        assert (await client.delete(f"/v1/judges/{made['id']}")).json()["deleted"] is True
        shown = (await client.get(f"/v1/judges/{made['id']}")).json()
        assert shown["archived_at"] is not None
        assert shown["watch"] is None
        error_in(await client.post(f"/v1/judges/{made['id']}", json={"name": "x"}), 409)
        error_in(await client.post(f"/v1/judges/{made['id']}/judge", json={"exchange_ids": ["x"]}), 409)
        assert (await client.get("/v1/judges")).json()["data"] == []
        assert len((await client.get("/v1/judges?archived=true")).json()["data"]) == 1
        error_in(await client.get("/v1/judges/helpfulness"), 404)


class TestList:
    async def test_newest_first_in_pages(self, client: Client) -> None:
        names = ["a", "b", "c"]
        for name in names:
            await make(client, name=name)
        first = (await client.get("/v1/judges?limit=2")).json()
        assert [each["name"] for each in first["data"]] == ["c", "b"]
        assert first["has_more"] is True
        rest = (await client.get(f"/v1/judges?limit=2&after={first['last_id']}")).json()
        assert [each["name"] for each in rest["data"]] == ["a"]


class TestJudge:
    async def test_queues_answers_by_either_id_once(self, client: Client, sv: Services, database: Database) -> None:
        made = await make(client, spec={**LLM, "repeats": 2})
        first, second = await exchange_ids(client, sv, 2)
        reply_id = (await client.get(f"/v1/exchanges/{second}")).json()["reply_id"]
        url = f"/v1/judges/{made['id']}/judge"
        answer = (await client.post(url, json={"exchange_ids": [first, reply_id]})).json()
        assert answer == {"object": "judge.request", "judge_version_id": made["version"]["id"], "queued": 4}
        assert (await client.post(url, json={"exchange_ids": [first]})).json()["queued"] == 0
        async with database.session() as session:
            rows = list(await session.scalars(select(JudgingTaskRow)))
        assert {row.exchange_id for row in rows} == {first, second}
        lag = (await client.get(f"/v1/judges/{made['id']}/lag")).json()
        assert (lag["waiting"], lag["under_way"], lag["late"]) == (4, 0, False)

    async def test_queues_pairs(self, client: Client, sv: Services) -> None:
        made = await make(client, criterion="preference")
        pair = await exchange_ids(client, sv, 2)
        url = f"/v1/judges/{made['id']}/judge"
        assert (await client.post(url, json={"pairs": [pair, pair[::-1]]})).json()["queued"] == 1

    @pytest.mark.parametrize(
        ("criterion", "body", "param"),
        [
            ("helpful", {}, "exchange_ids"),
            ("helpful", {"exchange_ids": ["x"] * 1001}, "exchange_ids"),
            ("helpful", {"pairs": [["a", "b"]]}, "pairs"),
            ("preference", {"exchange_ids": ["a"]}, "exchange_ids"),
            ("preference", {"pairs": [["a"]]}, "pairs[0]"),
        ],
        ids=str,
    )
    async def test_refuses(self, client: Client, criterion: str, body: dict[str, Any], param: str) -> None:
        made = await make(client, criterion=criterion)
        error = error_in(await client.post(f"/v1/judges/{made['id']}/judge", json=body), 400)
        assert error["param"].startswith(param)

    async def test_refuses_a_pair_of_one(self, client: Client, sv: Services) -> None:
        made = await make(client, criterion="preference")
        (id,) = await exchange_ids(client, sv, 1)
        error = error_in(await client.post(f"/v1/judges/{made['id']}/judge", json={"pairs": [[id, id]]}), 400)
        assert error["param"] == "pairs[0]"

    async def test_names_what_is_not_in_the_log_and_queues_nothing(
        self, client: Client, stranger: Client, sv: Services
    ) -> None:
        made = await make(client)
        (theirs,) = await exchange_ids(stranger, sv, 1)
        (mine,) = await exchange_ids(client, sv, 1)
        url = f"/v1/judges/{made['id']}/judge"
        error = error_in(await client.post(url, json={"exchange_ids": [mine, theirs]}), 404)
        assert theirs in error["message"]
        assert (await client.get(f"/v1/judges/{made['id']}/lag")).json()["waiting"] == 0


async def test_archiving_drops_what_waits(client: Client, sv: Services) -> None:
    made = await make(client)
    await client.post(f"/v1/judges/{made['id']}/judge", json={"exchange_ids": await exchange_ids(client, sv, 1)})
    await client.delete(f"/v1/judges/{made['id']}")
    assert (await client.get(f"/v1/judges/{made['id']}/lag")).json()["waiting"] == 0
