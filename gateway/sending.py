"""One try: a call sent to one replica, until its last byte, or until the first token of a stream.

Attempts (gateway/routing/attempts.py) decide how often and where; this is the `Sender` that they are given.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.errors import ModelLoading, ModelUnservable, Refusal, UpstreamFailed, UpstreamRefused
from gateway.protocol.envelope import Envelope, ask_for_usage, limit_answer
from gateway.protocol.routes import RouteTimeouts
from gateway.routing.deployment import Deployment
from gateway.routing.upstream import Upstream
from gateway.services import Services
from gateway.streaming import Batch, Splitter, batches, failure_in, one_by_one, prime, split
from gateway.upstreams.client import Door, UpstreamReply, Way
from gateway.upstreams.dialect import Dialect, dialect_of
from gateway.upstreams.room import room_for_answer


@dataclass(slots=True)
class Outgoing:
    """What is sent, whoever gets it."""

    path: str
    """Of the endpoint, below /v1."""
    body: bytes
    """As the client sent it."""
    envelope: Envelope
    request_id: str
    trace: Mapping[str, str] = field(default_factory=dict[str, str])
    """The caller's `traceparent` and `tracestate`."""
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """Model -> the tokens that its answer may have; for models that are not told, what the call says."""


@dataclass(slots=True)
class Opened:
    """A stream whose first token is here, in OpenAI's form."""

    upstream: UpstreamReply
    primed: Batch
    """Its events up to that one, and what came with it."""
    rest: AsyncIterator[Batch]
    splitter: Splitter | None
    """Of `rest`, where events are passed on as they come; None: they are made anew, in OpenAI's form."""


Answer = bytes | Opened
"""A whole reply in OpenAI's form, or a stream."""


class Sending:
    """Sends one call, in the language of each upstream."""

    def __init__(self, sv: Services, call: Outgoing, timeouts: RouteTimeouts) -> None:
        self._sv = sv
        self._call = call
        self._timeouts = timeouts
        self.sent: float | None = None
        """When the first upstream was called (time.perf_counter)."""
        self.asked: float | None = None
        """When it was, or when a model that has to be loaded first was waited for."""
        self.answered: float | None = None
        """When the answer was here: all of it, or the first token of a stream."""

    def replicas(self, deployment: Deployment) -> Sequence[str] | None:
        """Those of a provider; those of the engine that are up and, for a fine-tuned model, have it. None: nobody has it,
        and the engine could load it.

        The engine's states are a moment old: when all seem to be down, they are asked all the same.

        Raises:
            ModelUnservable, ModelLoading: nobody has the model.
        """
        upstream, residency = deployment.upstream, self._sv.residency
        if not upstream.is_engine:
            if deployment.problem:
                raise ModelUnservable(deployment.model, deployment.problem)
            return upstream.base_urls
        if deployment.base_model:
            residency.used(deployment.model)
            if residency.is_watched:
                is_loaded = residency.ready(deployment.model) or not any(map(residency.is_up, upstream.base_urls))
                return self._holding(deployment) if is_loaded else None
        up = [url for url in upstream.base_urls if residency.is_up(url)]
        awake = up or [url for url in upstream.base_urls if not residency.is_asleep(url)]
        if not awake:
            raise ModelLoading("The engine sleeps while a training uses its memory; please retry.")
        return awake

    async def loaded(self, deployment: Deployment) -> Sequence[str]:
        """Replicas on which a fine-tuned model is loaded and probed, once one has it.

        Raises:
            ModelUnservable, ModelLoading: none has it in time.
        """
        self.asked = self.asked or time.perf_counter()
        await self._sv.loader.wait_until_loaded(deployment, self._sv.settings.engine.load_seconds)
        return self._holding(deployment)

    async def send(self, deployment: Deployment, replica: str, trace: Mapping[str, str] | None = None) -> Answer:
        """Raises Refusal; it hangs up whenever it does not return.

        Args:
            trace: sent in the place of the caller's own Trace Context.
        """
        call, upstream = self._call, deployment.upstream
        door, dialect = door_to(upstream, replica, call.path), dialect_of(upstream.kind)
        limit, trace = call.limits.get(deployment.model), trace or call.trace
        began = time.perf_counter()
        self.sent = self.sent or began
        self.asked = self.asked or began
        try:
            body = self._body(deployment, dialect, limit)
            reply = await self._sv.upstreams.send(door, body, call.request_id, self._timeouts, trace)
        except UpstreamRefused as refusal:
            room = room_for_answer(str(refusal), limit) if limit is not None else None
            shorter = self._body(deployment, dialect, room) if room is not None else None
            reply = await self._again(deployment, door, refusal, shorter, trace)
        if call.envelope.stream:
            return await self._opened(reply, dialect, upstream.name, began)
        return await self._whole(reply, dialect, upstream.name)

    def hang_up(self, answer: Answer) -> None:
        if isinstance(answer, Opened):
            answer.upstream.close()

    async def _again(
        self,
        deployment: Deployment,
        door: Door,
        refusal: UpstreamRefused,
        shorter: bytes | None,
        trace: Mapping[str, str],
    ) -> UpstreamReply:
        """A limit that the client did not set is lowered where the model has less room beside the prompt.

        Args:
            shorter: the body with such a limit; None where that was not what the model refused.
        """
        try:
            if shorter is None:
                raise refusal
            return await self._sv.upstreams.send(door, shorter, self._call.request_id, self._timeouts, trace)
        except UpstreamRefused as last:
            if deployment.base_model and last.upstream_status == 404:  # it restarted and has not got it back yet
                raise self._not_served(deployment) from last
            raise

    def _body(self, deployment: Deployment, dialect: Dialect, limit: int | None = None) -> bytes:
        """The client's body, with what this model needs changed; the very same bytes where that is nothing."""
        body, envelope = self._call.body, self._call.envelope
        if limit is not None:
            body = limit_answer(body, envelope, limit)
        if envelope.stream:
            body = ask_for_usage(body, envelope.stream_options, running=deployment.upstream.is_engine)
        served = deployment.served_name or deployment.model
        return dialect.request(self._call.path, body, served_name=served if served != envelope.model else None)

    async def _opened(self, reply: UpstreamReply, dialect: Dialect, upstream: str, began: float) -> Opened:
        """Its first token, however much of the time for it went by until the status line."""
        limit = self._timeouts.first_token
        left = max(0.0, limit - (time.perf_counter() - began)) if limit else None
        pieces = reply.chunks()
        splitter = Splitter()
        rest = batches(pieces, splitter) if dialect.passes_on else one_by_one(dialect.events(split(pieces)))
        timer = asyncio.get_running_loop().call_later(left, reply.give_up) if left is not None else None
        try:
            primed = await prime(rest)
        except BaseException:
            reply.close()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        splitter.in_runs = True
        self.answered = time.perf_counter()
        reply.allow_idle(self._timeouts.idle)
        return Opened(reply, primed, rest, splitter if dialect.passes_on else None)

    async def _whole(self, reply: UpstreamReply, dialect: Dialect, upstream: str) -> bytes:
        read = reply.whole()
        if read is None:
            reply.allow_idle(self._timeouts.idle)
            read = await reply.read()
        self.answered = time.perf_counter()
        body = dialect.reply(read)
        if body[:1] != b"{" and not body.lstrip().startswith(b"{"):
            raise UpstreamFailed(f"The upstream `{upstream}` answered with something that is not JSON.")
        if (failure := failure_in(body)) is not None:
            raise failure
        return body

    def _holding(self, deployment: Deployment) -> Sequence[str]:
        """Replicas on which a fine-tuned model is loaded and probed."""
        ready = self._sv.residency.ready(deployment.model)
        if holding := [url for url in deployment.upstream.base_urls if url in ready]:
            return holding
        raise self._not_served(deployment)

    def _not_served(self, deployment: Deployment) -> Refusal:
        """Why nobody answers for a fine-tuned model that exists: not yet, or not at all."""
        if problem := deployment.problem or self._sv.residency.problem(deployment.model):
            return ModelUnservable(deployment.model, problem)
        if not deployment.upstream.is_engine:
            return ModelUnservable(deployment.model, f"the upstream `{deployment.upstream.name}` does not have it.")
        return ModelLoading(f"The model `{deployment.model}` is being loaded; please retry.")


@lru_cache(4096)
def door_to(upstream: Upstream, replica: str, endpoint: str) -> Door:
    """Kept with its upstream, which is another object once it is changed. Raises InvalidRequest."""
    dialect = dialect_of(upstream.kind)
    headers = dialect.headers(upstream.api_key, upstream.headers)
    return Door(upstream.name, replica + dialect.path(endpoint), Way(headers, upstream.proxy, read_error=dialect.error))
