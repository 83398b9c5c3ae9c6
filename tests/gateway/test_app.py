"""Model calls are answered before everything else is loaded."""

import asyncio
import threading

import pytest
from litestar import Litestar

from gateway.app import App
from gateway.litestar_app import build_routes
from gateway.settings import Settings
from tests.conftest import chat, client_of
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


async def test_while_the_rest_is_loaded_model_calls_and_health_are_answered_and_others_wait(
    app: App, settings: Settings, project_key: dict[str, str]
) -> None:
    go_on = threading.Event()

    def build() -> Litestar:
        assert go_on.wait(20)
        return build_routes(settings.max_body_bytes)

    loading = App(settings, build)
    async with loading.lifespan(), client_of(loading, project_key["value"]) as client:
        waiting = asyncio.ensure_future(client.get("/v1/models"))
        try:
            assert (await client.post(CHAT, json=chat("echo"))).status_code == 200
            assert (await client.get("/health")).json() == {"status": "ok"}
            assert not waiting.done()
        finally:
            go_on.set()
        assert "echo" in {model["id"] for model in (await waiting).json()["data"]}


async def test_a_call_of_a_page_waits_for_what_signs_people_in(app: App, settings: Settings) -> None:
    """It would import the framework beside the thread that does, and hold up everybody."""
    go_on = threading.Event()

    def build() -> Litestar:
        assert go_on.wait(20)
        return build_routes(settings.max_body_bytes)

    loading = App(settings, build)
    async with loading.lifespan(), client_of(loading, None) as client:
        headers = {"cookie": "a=b"}
        waiting = asyncio.ensure_future(client.post(CHAT, json=chat("echo"), headers=headers))
        try:
            for _ in range(5):
                assert (await client.post(CHAT, json=chat("echo"))).status_code == 401
                await asyncio.sleep(0)  # nothing in that suspends: the other one has its turn here
            assert not waiting.done()
        finally:
            go_on.set()
        assert (await waiting).status_code == 401


async def test_what_cannot_be_loaded_is_told_and_model_calls_go_on(
    app: App, settings: Settings, project_key: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    def build() -> Litestar:
        raise ImportError("half an installation")

    broken = App(settings, build)
    async with broken.lifespan(), client_of(broken, project_key["value"]) as client:
        error_in(await client.get("/v1/models"), 500)
        assert (await client.post(CHAT, json=chat("echo"))).status_code == 200
        assert (await client.get("/health")).status_code == 200
    assert "half an installation" in caplog.text


async def test_what_could_not_be_loaded_is_tried_again_after_a_pause_and_once_at_a_time(
    app: App, settings: Settings, project_key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def build() -> Litestar:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise MemoryError
        return build_routes(settings.max_body_bytes)

    broken = App(settings, build)
    async with broken.lifespan(), client_of(broken, project_key["value"]) as client:
        error_in(await client.get("/v1/models"), 500)
        error_in(await client.get("/v1/models"), 500)
        assert tries == 1
        monkeypatch.setattr("gateway.app.LOAD_AGAIN_SECONDS", 0.0)
        answers = await asyncio.gather(*(client.get("/v1/models") for _ in range(5)))
        assert [each.status_code for each in answers] == [200] * 5
        assert tries == 2


async def test_its_lifespan_tells_the_server_of_a_start_that_failed(settings: Settings) -> None:
    told: list[str] = []

    async def send(message: dict[str, str]) -> None:
        told.append(message["type"])

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    settings.data_dir.joinpath("spool").write_text("in the way")
    with pytest.raises(Exception):  # noqa: B017, PT011 whatever it was
        await App(settings, lambda: build_routes(1))({"type": "lifespan"}, receive, send)
    assert told == ["lifespan.startup.failed"]
