"""client.post("/feedback") beside client.chat.completions with store=True: what is asked, what people say, what is stored."""

import time
from typing import Any

import pytest
from openai import NotFoundError, OpenAI, PermissionDeniedError

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect, user, wait_until

pytestmark = pytest.mark.train


def asked(client: OpenAI, **more: Any) -> str:
    """The id of a completion that was stored."""
    reply = client.chat.completions.create(model="echo", messages=user("hello"), store=True, **more)
    call = reply._request_id
    assert call is not None
    found: list[str] = []

    def is_stored() -> bool:
        pages = client.chat.completions.list(order="desc", limit=5)
        found.extend(each.id for each in pages if (each.model_extra or {}).get("request_id") == call)
        return bool(found)

    wait_until(is_stored, "the completion is stored")
    return found[0]


class TestFeedback:
    def test_takes_two_lines(self, client: OpenAI) -> None:
        reply = client.chat.completions.create(model="starter", messages=user("hello"), max_tokens=4)
        feedback = {"completion_id": reply.id, "thumbs": "down", "tags": ["too_long"], "correction": "Hi!"}
        given: Any = client.post("/feedback", body=feedback, cast_to=object)
        assert [each["criterion"] for each in given["judgments"]] == ["thumbs", "correction"]
        assert client.post("/feedback", body=feedback, cast_to=object) == given
        assert given["judgments"][1]["edited_message"] == {"role": "assistant", "content": "Hi!"}

    def test_is_taken_back(self, client: OpenAI) -> None:
        reply = client.chat.completions.create(model="starter", messages=user("hello"), max_tokens=4)
        given: Any = client.post("/feedback", body={"completion_id": reply.id, "thumbs": "up"}, cast_to=object)
        url = f"/judgments/{given['judgments'][0]['id']}"
        assert client.delete(url, cast_to=object) == {
            "id": given["judgments"][0]["id"],
            "object": "judgment.deleted",
            "deleted": True,
        }

    def test_of_what_is_not_there_is_not_found(self, client: OpenAI) -> None:
        with pytest.raises(NotFoundError, match="No exchange 'chatcmpl-none' in this project") as refused:
            client.post("/feedback", body={"completion_id": "chatcmpl-none", "thumbs": "up"}, cast_to=object)
        assert refused.value.param == "completion_id"

    def test_with_a_key_that_can_do_nothing_else(self, client: OpenAI, stack: DemoStack, key: Key) -> None:
        reply = client.chat.completions.create(model="starter", messages=user("hello"), max_tokens=4)
        made = client.admin.organization.projects.service_accounts.create(key.project_id, name="page")
        assert made.api_key is not None
        scopes = {"scopes": ["api.feedback.write"]}
        url = f"/organization/projects/{key.project_id}/api_keys/{made.api_key.id}"
        client.post(url, body=scopes, cast_to=object, options={"security": {"admin_api_key_auth": True}})
        with connect(stack, made.api_key.value) as page:

            def is_narrow() -> bool:
                try:
                    page.models.list()
                except PermissionDeniedError:
                    return True
                return False

            wait_until(is_narrow, "the key has its scopes")
            page.post("/feedback", body={"completion_id": reply.id, "thumbs": "up"}, cast_to=object)
            with pytest.raises(PermissionDeniedError, match=r"Missing scopes: api\.judgments\.read"):
                page.get("/judgments", cast_to=object)


class TestStored:
    def test_is_listed_by_metadata_changed_and_deleted(self, client: OpenAI) -> None:
        team = f"team-{time.time_ns()}"
        ids = [asked(client, metadata={"team": team}) for _ in range(2)]
        listed = list(client.chat.completions.list(metadata={"team": team}, limit=1))
        assert [each.id for each in listed] == ids
        assert [each.id for each in client.chat.completions.list(metadata={"team": team}, model="nothing")] == []
        changed = client.chat.completions.update(ids[0], metadata={"stage": "reviewed"})
        assert changed.to_dict()["metadata"] == {"stage": "reviewed"}
        assert client.chat.completions.retrieve(ids[0]).choices == changed.choices
        gone = client.chat.completions.delete(ids[1])
        assert (gone.id, gone.deleted) == (ids[1], True)
        with pytest.raises(NotFoundError):
            client.chat.completions.retrieve(ids[1])

    def test_has_its_messages(self, client: OpenAI) -> None:
        """What was asked is the user's, which the SDK's own type does not know: it is read as it came."""
        id = asked(client)
        raw = client.chat.completions.messages.with_raw_response.list(id, limit=5)
        [message] = raw.http_response.json()["data"]
        assert (message["id"], message["role"], message["content"]) == (f"{id}-0", "user", "hello")

    def test_of_another_project_is_not_found(self, client: OpenAI, stranger: OpenAI) -> None:
        id = asked(client)
        with pytest.raises(NotFoundError):
            stranger.chat.completions.retrieve(id)
