"""One try: which replicas may be asked for what, and what a 404 of a fine-tuned model means."""

import asyncio
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gateway.errors import (
    ErrorObject,
    ModelLoading,
    ModelUnservable,
    Refusal,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.protocol.envelope import ChatEnvelope
from gateway.protocol.routes import RouteTimeouts
from gateway.routing.deployment import Deployment
from gateway.routing.residency import Residency
from gateway.routing.upstream import Upstream
from gateway.sending import Outgoing, Sending, door_to
from gateway.settings import EngineSettings
from tests.conftest import chat

pytestmark = pytest.mark.anyio

A, B = "http://a/v1", "http://b/v1"
ENGINE = Upstream("engine", (A, B), is_engine=True)
BASE = Deployment("base", ENGINE)
TUNED = Deployment("ft:base:x::1", ENGINE, base_model="base")


class Watched(Residency):
    """As a worker left it.

    Args:
        states: of each replica; none when nobody has looked yet.
    """

    def __init__(self, states: dict[str, str], *ready: str, problem: str | None = None) -> None:
        super().__init__((A, B))
        self._states = states
        self._loaded = {TUNED.model: frozenset(ready)} if ready else {}
        self.why = problem

    def problem(self, model: str) -> str | None:
        return self.why


@dataclass
class Loader:
    """Has the model loaded on `on`, if anywhere."""

    residency: Watched
    on: str | None = None
    asked: list[tuple[str, float]] = field(default_factory=list)

    async def wait_until_loaded(self, deployment: Deployment, seconds: float) -> bool:
        self.asked.append((deployment.model, seconds))
        if self.on:
            self.residency._loaded = {deployment.model: frozenset((self.on,))}
        return bool(self.on)


class Upstreams:
    """Refuses everything."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal

    async def send(self, *_: Any, **__: Any) -> Any:
        raise self.refusal


def sending(residency: Watched, on: str | None = None, refusal: Refusal | None = None) -> tuple[Sending, Loader]:
    loader = Loader(residency, on)
    sv: Any = SimpleNamespace(
        residency=residency,
        loader=loader,
        settings=SimpleNamespace(engine=EngineSettings(load_seconds=12.0)),
        upstreams=Upstreams(refusal) if refusal else None,
    )
    body = json.dumps(chat("base")).encode()
    envelope = msgspec.json.decode(body, type=ChatEnvelope)
    return Sending(sv, Outgoing("/chat/completions", body, envelope, "req_1"), RouteTimeouts()), loader


async def replicas(of: Sending, deployment: Deployment) -> list[str]:
    found = of.replicas(deployment)
    return sorted(await of.loaded(deployment) if found is None else found)


class TestReplicas:
    async def test_of_a_provider_are_all(self) -> None:
        of, _ = sending(Watched({A: "down"}))
        provider = Upstream("p", (A, B))
        assert await replicas(of, Deployment("m", provider)) == [A, B]
        with pytest.raises(ModelUnservable, match="its key cannot be opened"):
            await replicas(of, Deployment("m", provider, problem="its key cannot be opened."))

    @pytest.mark.parametrize(
        ("states", "found"),
        [
            ({}, [A, B]),
            ({A: "up", B: "down"}, [A]),
            ({A: "asleep", B: "up"}, [B]),
            ({A: "down", B: "down"}, [A, B]),
            ({A: "down", B: "asleep"}, [A]),
        ],
    )
    async def test_of_the_engine_are_those_that_are_up(self, states: dict[str, str], found: list[str]) -> None:
        of, _ = sending(Watched(states))
        assert await replicas(of, BASE) == found

    async def test_an_engine_that_sleeps_is_left_alone(self) -> None:
        of, _ = sending(Watched({A: "asleep", B: "asleep"}))
        with pytest.raises(ModelLoading, match="sleeps"):
            await replicas(of, BASE)


class TestTuned:
    async def test_before_anybody_has_looked_every_replica_is_asked(self) -> None:
        of, loader = sending(Watched({}))
        assert (await replicas(of, TUNED), loader.asked) == ([A, B], [])

    async def test_only_those_that_have_it(self) -> None:
        of, loader = sending(Watched({A: "up", B: "up"}, B))
        assert (await replicas(of, TUNED), loader.asked) == ([B], [])

    async def test_one_that_nobody_has_is_waited_for(self) -> None:
        of, loader = sending(Watched({A: "up", B: "up"}), on=A)
        assert (of.replicas(TUNED), of.asked) == (None, None)
        assert await of.loaded(TUNED) == [A]
        assert loader.asked == [(TUNED.model, 12.0)]
        assert of.asked is not None

    async def test_one_that_does_not_come_is_being_loaded(self) -> None:
        of, _ = sending(Watched({A: "up"}))
        with pytest.raises(ModelLoading) as raised:
            await replicas(of, TUNED)
        assert (raised.value.status, raised.value.headers) == (503, {"retry-after": "1"})

    async def test_one_that_is_refused_says_why(self) -> None:
        of, _ = sending(Watched({A: "up"}, problem="rank 64 is too large."))
        with pytest.raises(ModelUnservable, match="rank 64 is too large"):
            await replicas(of, TUNED)

    @pytest.mark.parametrize("state", ["down", "asleep"])
    async def test_an_engine_that_is_away_is_not_waited_for(self, state: str) -> None:
        of, loader = sending(Watched({A: state, B: state}, A), on=A)
        with pytest.raises(ModelLoading):
            await replicas(of, TUNED)
        assert loader.asked == []

    async def test_each_call_is_noted(self) -> None:
        of, _ = sending(Watched({}))
        await replicas(of, TUNED)
        await replicas(of, BASE)
        assert list(of._sv.residency._used) == [TUNED.model]


class TestSend:
    @pytest.mark.parametrize(
        ("deployment", "problem", "told"),
        [
            (TUNED, None, ModelLoading),
            (TUNED, "its files are gone.", ModelUnservable),
            (Deployment("ft:x", Upstream("p", (A,)), base_model="base"), None, ModelUnservable),
            (BASE, None, UpstreamRefused),
        ],
    )
    async def test_404_of_a_model_that_exists(
        self, deployment: Deployment, problem: str | None, told: type[Refusal]
    ) -> None:
        gone = UpstreamRefused(404, ErrorObject(message="no such model", type="x"))
        of, _ = sending(Watched({}, problem=problem), refusal=gone)
        with pytest.raises(Refusal) as raised:
            await of.send(deployment, A)
        assert type(raised.value) is told
        assert of.sent is not None

    async def test_everything_else_is_passed_on(self) -> None:
        broken = UpstreamFailed("x")
        of, _ = sending(Watched({}), refusal=broken)
        with pytest.raises(UpstreamFailed) as raised:
            await of.send(TUNED, A)
        assert raised.value is broken

    def test_the_body_is_the_clients_own_where_nothing_changes(self) -> None:
        from_client, _ = sending(Watched({}))
        dialect: Any = SimpleNamespace(request=lambda _, body, served_name: (body, served_name))
        body, served = from_client._body(BASE, dialect)
        assert (body is from_client._call.body, served) == (True, None)
        assert from_client._body(TUNED, dialect)[1] == TUNED.model
        renamed = Deployment("base", ENGINE, served_name="other")
        assert from_client._body(renamed, dialect)[1] == "other"


def test_a_changed_upstream_is_told_what_it_is_now() -> None:
    """What is sent to an upstream is written once for it."""
    one, other = (Upstream("p", (A,), api_key=key) for key in ("sk-old", "sk-new"))
    assert door_to(one, A, "/chat/completions") is door_to(one, A, "/chat/completions")
    told = [door_to(each, A, "/chat/completions").head("req_1", {}, 2)[1] for each in (one, other)]
    assert [b"sk-old" in told[0], b"sk-new" in told[1]] == [True, True]


async def test_nothing_waits_for_ever_without_a_first_token() -> None:
    """The limit holds for what is left of it after the status line, also when that is nothing."""
    closed, late = asyncio.Event(), asyncio.Event()

    async def never() -> Any:
        await late.wait()
        raise UpstreamTimeout("The upstream `up` did not answer in time.")
        yield b""

    of, _ = sending(Watched({}))
    of._timeouts = RouteTimeouts(first_token=0.01)
    reply: Any = SimpleNamespace(chunks=never, give_up=late.set, close=closed.set)
    dialect: Any = SimpleNamespace(passes_on=True)
    with pytest.raises(UpstreamFailed, match="`up` did not answer in time"):
        await of._opened(reply, dialect, "up", began=0.0)
    assert closed.is_set()
