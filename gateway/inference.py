"""The path of one model call, on one screen.

1. authenticate (memory), decode the envelope, plan who may answer (gateway/routing/resolve.py); each can refuse.
2. send, with retries and fallbacks (gateway/routing/attempts.py): to the last byte of a whole reply, to the first token
   of a stream. One try is in gateway/sending.py. Where an answer may be given again (gateway/caching.py), it is.
3. answer, whole or piece by piece, held against the rules of its route first (gateway/inline_rules.py). A stream that
   breaks from here on ends with an error frame.
4. `finish()`: usage -> cost -> spool. Exactly once for every call of a known key, however it ends, and before the last
   byte of the reply leaves. It is a plain function, so nothing can interrupt it.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol, cast

import msgspec

from gateway import caching
from gateway.end_users import end_user_of
from gateway.errors import ClientLeft, Refusal, Surprise, UnknownKey, UpstreamTimeout, refusal_of, to_openai_error
from gateway.exchanges import record, withholding
from gateway.exchanges.assemble import answer_text, assemble, reply_text
from gateway.exchanges.policy import kept
from gateway.exchanges.record import Outcome, Record
from gateway.few_shots import Prompt, prompted
from gateway.inline_rules import NOTHING, Case, Found, frames
from gateway.keys.new_keys import look_again
from gateway.keys.ring import ApiKey
from gateway.keys.scopes import MODEL_REQUEST, require
from gateway.kit.ids import new_request_id
from gateway.kit.money import format_usd
from gateway.limits.admission import Admission
from gateway.limits.counters import Need
from gateway.limits.headers import headers
from gateway.limits.service import Applicant
from gateway.limits.tokens import reserved
from gateway.metering.cost import Cost, cost
from gateway.metering.prices import Price
from gateway.metering.usage import Usage, completed, estimate_usage, read_usage
from gateway.overhead import FIRST_TOKEN, REST, WHOLE
from gateway.protocol.decode import decode
from gateway.protocol.envelope import ChatEnvelope, CompletionEnvelope, Envelope, is_true
from gateway.protocol.routes import FewShot
from gateway.reply_cache import replay
from gateway.reply_cache.entry import Entry
from gateway.routing.attempts import Answered, Attempts
from gateway.routing.choice import ordered
from gateway.routing.deployment import Deployment
from gateway.routing.plan import Plan
from gateway.sending import Answer, Opened, Outgoing, Sending
from gateway.services import Services
from gateway.spending import Funds, fund
from gateway.streamed_reply import Shortcut, StreamedReply
from gateway.streaming import DONE, Relay, error_frame
from gateway.traced_sending import TracedSending
from gateway.tracing import Trace

log = logging.getLogger(__name__)

NOT_HELD_BACK = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Of a stream, by proxies on its way."""
NO_COST = Cost(0, 0, 0, 0, 0)
TOO_LATE = UpstreamTimeout("The reply was not complete within the time that this call may take.")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model endpoint of OpenAI's API."""

    path: str
    """Below /v1, the same here and upstream."""
    decoder: msgspec.json.Decoder[Envelope]


CHAT_COMPLETIONS = Endpoint("/chat/completions", msgspec.json.Decoder(ChatEnvelope))
COMPLETIONS = Endpoint("/completions", msgspec.json.Decoder(CompletionEnvelope))


class Client(Protocol):
    """Whoever waits for the reply."""

    def when_gone(self, act: Callable[[], object]) -> None:
        """Call `act` once the client has left, instead of what was asked for before."""
        ...


@dataclass(slots=True)
class Call:
    """What came in, and what is learnt about it on the way."""

    endpoint: Endpoint
    authorization: bytes | None
    body: bytes
    request_id: str
    fall_back: bool = True
    """False: only the first choice may answer (the header `x-tuneway-fallback: off`)."""
    client: Client | None = None
    headers: caching.Headers = ()
    """As they came, names in lower case: what it wants of the reply cache."""
    created_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.perf_counter)
    key: ApiKey | None = None
    """Known before for a person who has signed in; else `authorization` tells."""
    envelope: Envelope | None = None
    end_user: str | None = None
    """By its hash."""
    plan: Plan | None = None
    prompt: Prompt | None = None
    """What is sent in the place of the body, where its route shows the model examples."""
    admission: Admission | None = None
    """What rate limits let it through with."""
    place: caching.Place | None = None
    """Where its answer is kept, when it may be given again."""
    hit: Entry | None = None
    """What was kept there."""
    funds: Funds | None = None
    """What it may spend; None: as much as it likes."""
    sending: Sending | None = None
    attempts: Attempts[Answer] | None = None
    deployment: Deployment | None = None
    """What answers; until something does, the first choice."""
    answered: Answered[Answer] | None = None
    found: Found = NOTHING
    """What rules of its route said of the answer."""
    trace_headers: dict[str, str] = field(default_factory=dict[str, str])
    """The caller's Trace Context, for the upstream."""
    trace: Trace | None = None
    """Where the call becomes spans."""

    @property
    def case(self) -> Case | None:
        """Where its route has rules for answers. What Tuneway asks itself, to judge or to measure, is not judged."""
        if self.plan is None or not self.plan.checks or (self.key and self.key.purpose):
            return None
        return Case(self.plan.route_label or "", self.plan.checks, self.body)

    @property
    def sent_body(self) -> bytes:
        """What the upstream reads, but for what its model needs changed."""
        return self.prompt.body if self.prompt else self.body

    def learn(self, found: Found) -> None:
        self.found = found

    @property
    def sent(self) -> float | None:
        """When the first upstream was called."""
        return self.sending.sent if self.sending else None

    @property
    def rate_limit_headers(self) -> dict[str, str]:
        """`x-ratelimit-*` for its reply."""
        return headers(self.admission.need.buckets) if self.admission else {}

    def watch_client(self, attempts: Attempts[Answer]) -> None:
        """Something has gone wrong: from now on a client that leaves ends what is still tried."""
        if self.client is not None:
            self.client.when_gone(lambda: attempts.end(ClientLeft()))


class Reply(msgspec.Struct, frozen=True):
    """A whole answer."""

    headers: dict[str, str]
    body: bytes


async def run(sv: Services, call: Call) -> Reply | StreamedReply:
    """Answer one call. Raises a Refusal; then the exchange is already recorded."""
    try:
        call.key = key = call.key or sv.keys.authenticate_project(call.authorization)
    except UnknownKey as unknown:
        call.key = key = await look_again(sv.mirrors, sv.keys.authenticate_project, call.authorization, unknown)
    if sv.telemetry is not None:
        call.trace = sv.telemetry.traces.begin(call.trace_headers)
    sv.spool.check()  # what could not be recorded is not asked
    try:
        require(key.scopes, MODEL_REQUEST)
        call.envelope = decode(call.endpoint.decoder, call.body)
        call.end_user = end_user_of(call.envelope, key.project_id, sv.settings.secret_key)
        call.plan = await _plan(sv, call, key, call.envelope.model)
        if call.plan.few_shot is not None:
            call.prompt = await _prompt(sv, call, key, call.envelope, call.plan.few_shot)
        asked = call.prompt.envelope if call.prompt else call.envelope
        cover = sv.budgets.of(key.project_id, key.id)
        call.admission = await _admitted(sv, call, key, asked, call.plan, unpaid=cover is not None)
        hit = await _hit(sv, call, key, call.plan) if call.plan.cache is not None else None
        if cover and hit is None:
            call.funds = await fund(sv, cover, call.plan, asked, call.sent_body, call.created_at)
            call.plan = call.funds.plan if call.funds else call.plan
            if call.admission:
                call.admission.paid()
        answer = await _answer(sv, call, call.envelope, call.plan) if hit is None else None
        again = _again(call, call.envelope, hit) if hit is not None else None
        if isinstance(answer, Opened):
            return _stream(sv, call, call.envelope, answer)
    except BaseException as error:
        finish(sv, call, End(error=error, left=isinstance(error, ClientLeft)))
        if isinstance(error, Exception):
            await sv.spool.synced()
        raise
    if again is not None:
        return await _given_again(sv, call, again)
    return await _whole(sv, call, cast("bytes", answer))


async def _whole(sv: Services, call: Call, answer: bytes) -> Reply:
    """A reply that is all there."""
    reply_id, usage = read_usage(answer)
    usage = usage or estimate_usage(call.sent_body, answer_text(answer))
    try:
        if case := call.case:
            call.found = await sv.inline_rules.check(case, answer)
    finally:  # however that ends: the answer has its price
        nano = finish(sv, call, End(reply=answer, reply_id=reply_id, usage=usage))
    if call.place is not None:
        _keep(sv, call, call.place, answer)
    if sv.spool.grouped:
        await sv.spool.synced()
    if withheld := call.found.refusal:
        answer = withholding.body(answer, call.found.withheld, withheld)
    headers = _headers(sv, call, "application/json")
    headers["x-tuneway-cost"] = _cost(nano)
    if call.found.verdicts:
        headers |= call.found.headers
    return Reply(headers, answer)


async def _plan(sv: Services, call: Call, key: ApiKey, model: str) -> Plan:
    """Who may answer. Raises ModelNotFound, also for what this key may not call."""
    key.require_model(model)
    names, fall_back = sv.names, call.fall_back
    plan = names.known(model, key.project_id, fall_back=fall_back)
    plan = plan or await names.plan(model, key.project_id, fall_back=fall_back)
    return plan.among(key.models.may_serve) if key.models is not None else plan


async def _prompt(sv: Services, call: Call, key: ApiKey, envelope: Envelope, few_shot: FewShot) -> Prompt | None:
    """What Tuneway asks itself, to judge or to measure, is asked as it is."""
    if key.purpose or not isinstance(envelope, ChatEnvelope):
        return None
    return await prompted(sv.shown_examples, key.project_id, few_shot, call.body, envelope)


async def _admitted(
    sv: Services, call: Call, key: ApiKey, envelope: Envelope, plan: Plan, *, unpaid: bool
) -> Admission | None:
    """None where no rate limit holds. One that is not paid for counts nowhere until it is. Raises RateLimited."""
    model = plan.name if plan.route or not plan.targets else plan.targets[0].deployment.model
    applicant = Applicant(key.project_id, key.id, key.tier, model)
    buckets = sv.limits.buckets(applicant)
    if buckets is None:
        return None
    tokens = reserved(envelope, call.sent_body) if buckets.tokens else 0
    need = Need(key.id, buckets, tokens, unpaid=unpaid)
    return sv.limits.admit_at_once(applicant, need) or await sv.limits.admit(applicant, need)


async def _hit(sv: Services, call: Call, key: ApiKey, plan: Plan) -> Entry | None:
    """What was answered before to the very same. Raises InvalidRequest."""
    place = caching.place_of(sv, key, plan, call.endpoint.path, call.headers, call.sent_body)
    if place is None:
        return None
    call.place = place
    call.hit = await sv.replies.get(place.name) if place.is_read else None
    sv.metrics.observe_cache(hit=call.hit is not None)
    return call.hit


def _again(call: Call, envelope: Envelope, hit: Entry) -> replay.Again:
    """An answer that was kept, for this call: it costs nothing, and counts as a request."""
    assert call.plan is not None
    called = (each.deployment for each in call.plan.targets if each.deployment.model == hit.model)
    call.deployment = next(called, None)
    options = envelope.stream_options
    usage = bool(options and options.include_usage)
    again = replay.again(hit.body, call.request_id, streamed=bool(envelope.stream), usage=usage)
    if call.admission:
        call.admission.paid()
    return again


async def _given_again(sv: Services, call: Call, again: replay.Again) -> Reply | StreamedReply:
    """It is recorded first, whatever becomes of it."""
    first_at = time.perf_counter() if again.frames is not None else None
    finish(sv, call, End(reply=again.body, reply_id=again.id, first_at=first_at))
    if sv.spool.grouped:
        await sv.spool.synced()
    if again.frames is None:
        return Reply(_headers(sv, call, "application/json") | {"x-tuneway-cost": _cost(0)}, again.body)
    reply = caching.Replayed(_headers(sv, call, "text/event-stream; charset=utf-8") | NOT_HELD_BACK)
    reply.frames = _replayed(reply, [*again.frames, DONE])
    return reply


async def _replayed(reply: StreamedReply, frames: list[bytes]) -> AsyncGenerator[bytes]:
    for frame in frames:
        if reply.left:
            break
        yield frame
    reply.ended.set()


def _keep(sv: Services, call: Call, place: caching.Place, answer: bytes) -> None:
    """Args: answer: whole, as a model gave it."""
    is_checked = call.case is None or bool(call.found.verdicts)  # a call that is cancelled ends before it is
    if call.answered is not None and is_checked and caching.passed(call.found.verdicts):
        caching.keep(sv, place, call.answered, answer, call.body, call.request_id)


async def complete(sv: Services, caller: ApiKey, body: bytes) -> bytes:
    """The reply to a chat completion that this server makes for a caller, with the caller's key: like any other call.

    Args:
        body: asks for no stream.
    """
    reply = await run(sv, Call(CHAT_COMPLETIONS, None, body, new_request_id(), key=caller))
    assert isinstance(reply, Reply)
    return reply.body


async def _answer(sv: Services, call: Call, envelope: Envelope, plan: Plan) -> Answer:
    """Ask whoever the plan names until somebody answers."""
    limits = call.funds.limits if call.funds else {}
    outgoing = Outgoing(call.endpoint.path, call.sent_body, envelope, call.request_id, call.trace_headers, limits)
    call.sending = sending = Sending(sv, outgoing, plan.timeouts)
    candidates = ordered(plan, envelope, sv.traffic.load)
    call.deployment = candidates[0].deployment
    sender = TracedSending(sending, call.trace) if call.trace else sending
    call.attempts = attempts = Attempts(plan, candidates, sender, sv.traffic, call.watch_client)
    sv.calls.add(attempts)
    try:
        call.answered = answered = await attempts.run()
    finally:
        sv.calls.discard(attempts)
    call.deployment = answered.deployment
    return answered.answer


def _stream(sv: Services, call: Call, envelope: Envelope, opened: Opened) -> StreamedReply:
    """A reply whose first token is here; from now on errors are frames."""
    assert call.deployment is not None
    assert call.attempts is not None
    options = envelope.stream_options
    relay = Relay(
        show_usage=bool(options and options.include_usage),
        strip_running=not (options and options.continuous_usage_stats),
    )
    drain = 0.0 if call.deployment.upstream.is_engine else sv.settings.timeouts.drain
    headers = _headers(sv, call, "text/event-stream; charset=utf-8") | NOT_HELD_BACK
    reply = StreamedReply(headers, opened.upstream, drain)
    sent = relay.frames(opened.primed, opened.rest)
    if case := call.case:
        sent = frames(sv.inline_rules, case, relay, sent, call.learn)
    elif opened.splitter is not None:
        reply.shortcut = Shortcut(opened.splitter, relay)
    reply.frames = _frames(sv, call, reply, relay, sent)
    if call.attempts.deadline is not None:
        reply.limit(call.attempts.deadline)
    sv.streams.add(reply)
    return reply


async def _frames(
    sv: Services, call: Call, reply: StreamedReply, relay: Relay, frames: AsyncIterator[bytes]
) -> AsyncGenerator[bytes]:
    """Every frame for the client; the exchange is recorded before the last one."""
    error: Refusal | None = None
    ended = False
    try:
        async for frame in frames:
            yield frame
        ended = True
    except Exception as failure:
        ended, error = True, TOO_LATE if reply.late else refusal_of(failure)
        if isinstance(error, Surprise):
            log.exception("a stream broke", extra={"request_id": call.request_id})
    finally:
        reply.left = reply.left or not ended  # closed from outside: the server could not send on
        error = _end_stream(sv, call, reply, relay, error)
    if sv.spool.grouped:
        unsynced = await _unsynced(sv)
        error = error or unsynced
    yield error_frame(error) if error else DONE


async def _unsynced(sv: Services) -> Refusal | None:
    """The refusal that a client hears of where the record of its call may be lost with the power."""
    try:
        await sv.spool.synced()
    except Refusal as failed:
        return failed
    return None


def _end_stream(sv: Services, call: Call, reply: StreamedReply, relay: Relay, error: Refusal | None) -> Refusal | None:
    """Hang up and record; the refusal that the client should still hear of."""
    reply.hang_up(finished=relay.finished)
    raw = relay.raw()
    try:
        known = relay.usage
        usage = known if known and known.output_tokens else completed(known, call.sent_body, reply_text(raw))
        end = End(
            reply=raw,
            reply_id=relay.reply_id,
            usage=usage,
            error=error,
            left=reply.left,
            first_at=relay.first_at,
            ended_at=relay.ended_at,
        )
        finish(sv, call, end)
        if call.place is not None and relay.finished and relay.usage and error is None:
            _keep(sv, call, call.place, assemble(raw))
    except Refusal as full:
        return full
    finally:
        sv.streams.discard(reply)
        reply.ended.set()
    return error


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended."""

    reply: bytes | None = None
    """What the upstream sent; None when it never answered."""
    reply_id: str | None = None
    usage: Usage | None = None
    error: BaseException | None = None
    left: bool = False
    """The client closed its connection before the end."""
    first_at: float | None = None
    """When the first piece of a stream came."""
    ended_at: float | None = None
    """When the upstream of a stream had said all."""


def finish(sv: Services, call: Call, end: End) -> int | None:
    """Meter and record one call; returns its cost in nano-dollars, None without a price or usage.

    Raises:
        Unavailable: the spool cannot be written.
    """
    if call.answered:
        call.answered.release()
    deployment, usage = call.deployment, end.usage
    if call.admission:
        call.admission.settle(usage.input_tokens + usage.output_tokens if usage else 0)
    price = _price(sv, call, deployment) if deployment else None
    charged = cost(usage, price) if usage and price else None
    if call.funds:
        if charged and usage and usage.estimated:  # a guess takes no more than what was set aside for the worst
            charged = charged.at_most(call.funds.reservation.amount)
        call.funds.reservation.settle(charged.total if charged else 0)
    entry = _record(sv, call, end, charged, priced=price is not None or usage is None)
    sv.spool.append(record.encode(kept(entry)))
    sv.metrics.calls.observe(entry)
    _observe_overhead(sv, call, end)
    if call.trace is not None and sv.telemetry is not None:
        sv.telemetry.traces.ended(call.trace, entry, call.started, end.error)
    if end.error is not None:
        sv.metrics.observe_refusal(end.error)
    if call.found.verdicts:
        sv.metrics.observe_checks(call.found.verdicts)
    if call.attempts:
        sv.metrics.observe_attempts(call.attempts.made, call.answered)
    return charged.total if charged else None


def _observe_overhead(sv: Services, call: Call, end: End) -> None:
    """What all of this added to the call (gateway/overhead.py)."""
    sending, overhead, now = call.sending, sv.metrics.overhead, time.perf_counter()
    if sending is None or sending.asked is None or sending.answered is None:
        return
    before = sending.asked - call.started
    if end.first_at is None:
        overhead.observe(WHOLE, before + now - sending.answered)
        return
    overhead.observe(FIRST_TOKEN, before + end.first_at - sending.answered)
    if end.ended_at is not None:
        overhead.observe(REST, now - end.ended_at)


def _upstream_ms(call: Call, end: End, now: float) -> float | None:
    """From the first upstream that was asked to the last byte of the answer: with retries, their pauses and fallbacks, and
    without checks and what is done with the answer here. None: nobody was asked."""
    sending = call.sending
    if sending is None or sending.sent is None:
        return None
    whole = sending.answered if end.first_at is None and end.error is None else None
    return ((whole or end.ended_at or now) - sending.sent) * 1000


def _price(sv: Services, call: Call, deployment: Deployment) -> Price | None:
    if call.funds:  # a price that became known meanwhile could come to more than was reserved
        return call.funds.prices.get(deployment.model)
    return sv.prices.find(deployment.model, deployment.base_model, call.created_at)


def _record(sv: Services, call: Call, end: End, charged: Cost | None, *, priced: bool) -> Record:
    assert call.key is not None
    key, deployment, usage, now = call.key, call.deployment, end.usage, time.perf_counter()
    refusal = refusal_of(end.error) if end.error else call.found.refusal
    envelope, parts = call.envelope, charged or NO_COST
    return Record(
        id=call.request_id,
        created_at=call.created_at,
        project_id=key.project_id, api_key_id=key.id, user_id=key.user_id, logging=key.logging, purpose=key.purpose,
        endpoint=call.endpoint.path,
        requested_model=envelope.model if envelope else "",
        served_model=deployment.model if deployment and end.reply is not None else None,
        upstream=deployment.upstream.name if deployment and not call.hit else None,
        streamed=bool(envelope and envelope.stream),
        outcome=_outcome(call, end),
        status=to_openai_error(refusal)[0] if refusal and end.reply is None else 200,
        error=msgspec.json.encode(refusal.body().error) if refusal and not end.left else None,
        request=call.body,
        reply=end.reply,
        reply_id=end.reply_id,
        input_tokens=usage.input_tokens if usage else None,
        cached_input_tokens=usage.cached_input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        usage_estimated=usage.estimated if usage else False,
        priced=priced,
        duration_ms=(now - call.started) * 1000,
        first_token_ms=(end.first_at - call.started) * 1000 if end.first_at else None,
        upstream_ms=_upstream_ms(call, end, now),
        request_metadata=envelope.metadata if envelope else None,
        route=call.plan.route_label if call.plan else None,
        attempts=_attempts(call),
        cost_nano=charged.total if charged else 0 if call.hit else None,
        input_nano=parts.input, cached_input_nano=parts.cached_input, output_nano=parts.output, request_nano=parts.request,
        end_user=call.end_user,
        stored=isinstance(envelope, ChatEnvelope) and is_true(envelope.store) and end.reply is not None,
        verdicts=call.found.record,
        cache_hit=call.hit is not None,
    )  # fmt: skip


def _attempts(call: Call) -> bytes | None:
    """What was tried, when there was more than one try."""
    made = call.attempts.made if call.attempts else ()
    return msgspec.json.encode(made) if len(made) > 1 else None


def _outcome(call: Call, end: End) -> Outcome:
    if end.left:
        return "client_left"
    if end.error is None:
        return "refused" if call.found.refusal else "completed"
    return "failed" if call.sent else "refused"


def _headers(sv: Services, call: Call, content_type: str) -> dict[str, str]:
    """What every model reply carries (contract section 0), which model served it, and how that came about."""
    assert call.plan is not None
    headers = {
        "content-type": content_type,
        "x-request-id": call.request_id,
        "openai-processing-ms": str(round((time.perf_counter() - call.started) * 1000)),
        "openai-organization": sv.settings.organization,
        "openai-version": "2020-10-01",
        "x-tuneway-model": _model(call),
        **call.rate_limit_headers,
    }
    if route := call.plan.route_label:
        headers["x-tuneway-route"] = route
    if call.prompt:
        headers["x-tuneway-few-shot"] = str(call.prompt.examples)
    if call.answered and call.answered.fallback:
        headers["x-tuneway-fallback"] = call.answered.fallback
    if call.attempts and (attempts := len(call.attempts.made)) > 1:
        headers["x-tuneway-attempts"] = str(attempts)
    if call.place is not None:
        headers |= _cache_headers(call)
    return headers


def _model(call: Call) -> str:
    """What answered."""
    if call.hit is not None:
        return call.hit.model
    assert call.answered is not None
    return call.answered.deployment.model


def _cache_headers(call: Call) -> dict[str, str]:
    if call.hit is None:
        return {caching.HEADER: "miss"}
    return {caching.HEADER: "hit", "age": str(call.hit.age(time.time()))}


def _cost(nano: int | None) -> str:
    """For a header."""
    return format_usd(nano) if nano is not None else "unpriced"
