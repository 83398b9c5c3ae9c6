"""Routes through the official SDK: an administrator moves a name while an application calls it."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError, ConflictError, NotFoundError, OpenAI, PermissionDeniedError
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect, user, wait_until

pytestmark = pytest.mark.train
Json = dict[str, Any]


@pytest.fixture(scope="module")
def administrator(stack: DemoStack) -> Iterator[OpenAI]:
    with connect(stack, stack.admin_key) as client:
        yield client


@pytest.fixture
def route(administrator: OpenAI, key: Key) -> Iterator[Json]:
    """`support-bot` of the key's project: the provider."""
    body = {"name": "support-bot", "project_id": key.project_id, "targets": [{"model": "echo"}]}
    route = administrator.post("/routes", body=body, cast_to=Json)
    yield route
    administrator.delete(f"/routes/{route['id']}", cast_to=Json)


def changed(administrator: OpenAI, route: Json, **fields: Any) -> Json:
    return administrator.post(f"/routes/{route['id']}", body=fields, cast_to=Json)


def asked(client: OpenAI, **more: Any) -> tuple[str, str, str | None]:
    """Which model answered, its first letters, and what led to it."""
    raw = client.chat.completions.with_raw_response.create(
        model="support-bot", messages=user("hello"), max_tokens=4, **more
    )
    assert raw.parse().choices[0].message.role == "assistant"
    return raw.headers["x-tuneway-model"], raw.headers["x-tuneway-route"], raw.headers.get("x-tuneway-fallback")


class TestAName:
    def test_moves_from_a_provider_to_a_fine_tuned_model_and_back(
        self, client: OpenAI, administrator: OpenAI, route: Json, tuned: FineTuningJob
    ) -> None:
        assert asked(client) == ("echo", "support-bot@1", None)
        changed(administrator, route, targets=[{"model": tuned.fine_tuned_model}])
        wait_until(lambda: asked(client) == (tuned.fine_tuned_model, "support-bot@2", None), "the change is served")
        administrator.post(f"/routes/{route['id']}/rollback", cast_to=Json)
        wait_until(lambda: asked(client) == ("echo", "support-bot@3", None), "the rollback is served")
        history = administrator.get(f"/routes/{route['id']}/revisions", cast_to=Json)["data"]
        assert [(each["number"], each["restores"]) for each in history] == [(3, 1), (2, None), (1, None)]

    def test_streams_and_falls_back_to_another_provider(
        self, client: OpenAI, administrator: OpenAI, route: Json
    ) -> None:
        fields = {"targets": [{"model": "status-429"}], "fallbacks": [{"model": "echo"}], "retries": {"count": 0}}
        revision = changed(administrator, route, **fields)["revision"]
        wait_until(lambda: asked(client) == ("echo", f"support-bot@{revision}", "rate_limit"), "the fallback answers")
        chunks = client.chat.completions.create(model="support-bot", messages=user("hello"), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def test_is_listed_and_read_like_a_model(self, client: OpenAI, stranger: OpenAI, route: Json) -> None:
        assert "support-bot" in [model.id for model in client.models.list()]
        assert client.models.retrieve("support-bot").id == "support-bot"
        assert "support-bot" not in [model.id for model in stranger.models.list()]
        with pytest.raises(NotFoundError):
            stranger.chat.completions.create(model="support-bot", messages=user("hello"))


class TestRefusals:
    def test_are_openais_errors(self, client: OpenAI, administrator: OpenAI, route: Json) -> None:
        with pytest.raises(PermissionDeniedError):
            client.get("/routes", cast_to=Json)
        again = {"name": "support-bot", "project_id": route["project_id"], "targets": [{"model": "echo"}]}
        with pytest.raises(ConflictError, match=route["id"]):
            administrator.post("/routes", body=again, cast_to=Json)
        with pytest.raises(APIStatusError) as raised:
            changed(administrator, route, targets=[{"model": "echo"}, {"model": "nowhere"}])
        assert (raised.value.status_code, raised.value.param) == (400, "targets[1].model")  # type: ignore[attr-defined]
