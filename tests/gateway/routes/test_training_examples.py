"""/v1/training_examples"""

from typing import Any

import httpx
import pytest

from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

EXAMPLES = "/v1/training_examples"


def said(question: str, answer: str = "42") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def pair(question: str) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": question}]},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    }


async def make(client: httpx.AsyncClient, line: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = await client.post(EXAMPLES, json={"line": line, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def change(client: httpx.AsyncClient, made: dict[str, Any], body: Any, action: str = "") -> dict[str, Any]:
    answer = await client.post(f"{EXAMPLES}/{made['id']}{action}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Ids."""
    answer = await client.get(EXAMPLES, params=query)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


class TestMade:
    async def test_is_a_draft_and_says_everything(self, client: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        made = await make(client, said("Why?"), tags=["b", "a", "b"], note="from a call")
        assert made["id"].startswith("example_")
        assert {name: made[name] for name in ("kind", "line", "tags", "source", "status", "note", "created_by")} == {
            "kind": "sft", "line": said("Why?"), "tags": ["b", "a"], "source": "manual", "status": "draft",
            "note": "from a call", "created_by": project_key["id"],
        }  # fmt: skip
        assert (made["score"], made["validated_by"], made["validated_at"], made["exchange_id"]) == (None,) * 4
        assert (await client.get(f"{EXAMPLES}/{made['id']}")).json() == made

    async def test_a_pair_of_answers_is_a_preference(self, client: httpx.AsyncClient) -> None:
        assert (await make(client, pair("Why?")))["kind"] == "preference"

    async def test_the_same_line_again_is_the_same_example(self, client: httpx.AsyncClient) -> None:
        """Whatever the order of its keys."""
        made = await make(client, said("Why?"), tags=["first"])
        turned = {"messages": [dict(reversed(list(each.items()))) for each in said("Why?")["messages"]]}
        assert await make(client, turned, tags=["second"]) == made

    async def test_one_that_was_deleted_can_be_made_again(self, client: httpx.AsyncClient) -> None:
        made = await make(client, said("Why?"))
        assert (await client.delete(f"{EXAMPLES}/{made['id']}")).json()["object"] == "training_example.deleted"
        error_in(await client.get(f"{EXAMPLES}/{made['id']}"), 404)
        assert (await make(client, said("Why?")))["id"] != made["id"]

    async def test_is_held_to_the_rules_of_training_files(self, client: httpx.AsyncClient) -> None:
        for line, param in (
            ({"messages": [{"role": "user", "content": "x"}]}, "line.messages"),
            ({"messages": [{"role": "robot", "content": "x"}]}, "line.messages[0].role"),
            (pair("x") | {"preferred_output": []}, "line.preferred_output"),
            ({"prompt": "a", "completion": "b"}, "line"),
            (said("x" * 300_000), "line"),
            (said("a\x00b"), "line"),
        ):
            assert error_in(await client.post(EXAMPLES, json={"line": line}), 400)["param"] == param, line

    async def test_two_projects_may_have_the_same(self, client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
        mine, theirs = await make(client, said("Why?")), await make(stranger, said("Why?"))
        assert mine["id"] != theirs["id"]
        assert await listed(client) == [mine["id"]]


class TestEdited:
    async def test_line_is_another_example_and_a_draft(self, client: httpx.AsyncClient) -> None:
        made = await make(client, said("Why?"), tags=["a"], note="n")
        await change(client, made, {"score": 0.9}, "/validate")
        edited = await change(client, made, {"line": said("Why?", "43")})
        assert edited["id"] != made["id"]
        assert (edited["status"], edited["score"], edited["tags"], edited["note"]) == ("draft", None, ["a"], "n")
        assert await listed(client) == [edited["id"]]
        error_in(await client.get(f"{EXAMPLES}/{made['id']}"), 404)

    async def test_tags_and_notes_change_in_place(self, client: httpx.AsyncClient) -> None:
        made = await make(client, said("Why?"), tags=["a"])
        await change(client, made, {"score": 1.0}, "/validate")
        changed = await change(client, made, {"tags": ["b"], "note": "x"})
        assert (changed["id"], changed["tags"], changed["note"]) == (made["id"], ["b"], "x")
        assert (changed["status"], changed["score"]) == ("validated", 1.0)

    async def test_to_the_same_line_changes_nothing(self, client: httpx.AsyncClient) -> None:
        made = await make(client, said("Why?"))
        assert (await change(client, made, {"line": said("Why?")}))["id"] == made["id"]

    async def test_to_a_line_that_is_there_is_refused(self, client: httpx.AsyncClient) -> None:
        made, other = await make(client, said("a")), await make(client, said("b"))
        answer = await client.post(f"{EXAMPLES}/{made['id']}", json={"line": said("b")})
        error = error_in(answer, 409)
        assert (error["code"], other["id"] in error["message"]) == ("example_exists", True)
        assert set(await listed(client)) == {made["id"], other["id"]}

    async def test_keeps_its_kind(self, client: httpx.AsyncClient) -> None:
        made = await make(client, said("a"))
        answer = await client.post(f"{EXAMPLES}/{made['id']}", json={"line": pair("a")})
        assert error_in(answer, 400)["param"] == "line"


class TestValidated:
    async def test_with_a_score_by_somebody(self, client: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        made = await change(client, await make(client, said("a")), {"score": 0.8, "note": "fine"}, "/validate")
        assert (made["status"], made["score"], made["note"]) == ("validated", 0.8, "fine")
        assert made["validated_by"] == project_key["id"]
        assert made["validated_at"] >= made["created_at"]

    async def test_or_rejected_or_a_draft_again(self, client: httpx.AsyncClient) -> None:
        made = await make(client, said("a"))
        rejected = await change(client, made, {"status": "rejected", "score": 0.1}, "/validate")
        assert (rejected["status"], rejected["score"]) == ("rejected", 0.1)
        draft = await change(client, made, {"status": "draft"}, "/validate")
        assert (draft["status"], draft["score"], draft["validated_by"], draft["validated_at"]) == ("draft", *[None] * 3)

    async def test_a_score_is_between_0_and_1_and_drafts_have_none(self, client: httpx.AsyncClient) -> None:
        url = f"{EXAMPLES}/{(await make(client, said('a')))['id']}/validate"
        for body in ({"score": 1.1}, {"score": -0.1}, {"status": "draft", "score": 0.5}):
            assert error_in(await client.post(url, json=body), 400)["param"] == "score"


class TestListed:
    async def test_newest_first_in_pages(self, client: httpx.AsyncClient) -> None:
        made = [(await make(client, said(str(number))))["id"] for number in range(3)]
        assert await listed(client) == made[::-1]
        assert await listed(client, limit=1, after=made[2]) == [made[1]]
        assert (await client.get(EXAMPLES, params={"limit": 2})).json()["has_more"] is True

    async def test_by_what_it_is(self, client: httpx.AsyncClient) -> None:
        good = await change(client, await make(client, said("a"), tags=["x", "y"]), {"score": 0.8}, "/validate")
        poor = await change(client, await make(client, said("b"), tags=["x"]), {"score": 0.2}, "/validate")
        draft = await make(client, pair("c"))
        assert await listed(client, status="draft") == [draft["id"]]
        assert await listed(client, kind="preference") == [draft["id"]]
        assert await listed(client, tag="x") == [poor["id"], good["id"]]
        assert await listed(client, tag=["x", "y"]) == [good["id"]]
        assert await listed(client, min_score=0.5) == [good["id"]]
        assert await listed(client, source="upload") == []

    async def test_by_what_is_said_in_it_literally_and_in_any_case(self, client: httpx.AsyncClient) -> None:
        made = await make(client, said('Is "50% (off)" a\nDEAL? Grüße'))
        await make(client, pair("Something else"))
        for text in ("50% (off)", '"50%', "deal?", "a\ndeal", "GRÜSSE"[:3], "grüße"):
            assert await listed(client, text=text) == [made["id"]], text
        assert await listed(client, text="user") == []  # a role, not what was said
        assert await listed(client, text=".*") == []
        assert len(await listed(client, text="SOMETHING")) == 1

    async def test_refuses_unknown_words(self, client: httpx.AsyncClient) -> None:
        for name, value in (("status", "good"), ("kind", "dpo"), ("source", "x"), ("min_score", "x")):
            assert error_in(await client.get(EXAMPLES, params={name: value}), 400)["param"] == name
