"""From a plan to an answer: tries, waits, fallbacks, and a second one asked in parallel.

This module knows nothing of HTTP: a `Sender` sends, and raises a Refusal where nothing came of it.

1. The candidates are asked in their order. What fails for a reason that may pass is tried again (`Retries`), on another
   replica where there is one; a timeout only there, because the same replica would let the client wait as long again.
2. Then comes the next candidate, a fallback only if one of its conditions was seen.
3. A refusal that is the client's own fault is passed on at once.
4. When nothing answered, the client hears the most telling refusal (gateway/routing/conditions.py: TELLING).

Every try is counted exactly once by the load, the breaker and `made`, however it ends.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from gateway.errors import InvalidRequest, Refusal, Unavailable, UpstreamRefused, UpstreamTimeout
from gateway.protocol.routes import Condition
from gateway.routing.breaker import ILL, Breakers, Key
from gateway.routing.conditions import TELLING, condition_of, may_pass, retry_after
from gateway.routing.deployment import Deployment
from gateway.routing.load import Load
from gateway.routing.plan import Candidate, Plan

T = TypeVar("T")
CANCELLED = "cancelled"
"""The failure of a try that was hung up: another candidate was faster, the client left, or the time was over."""


class Sender(Protocol[T]):
    """Sends one call, as often as it is asked to."""

    def replicas(self, deployment: Deployment) -> Sequence[str] | None:
        """Base URLs that may be asked, one at least; None: the model has to be loaded first.

        Raises:
            Refusal: there is none.
        """
        ...

    async def loaded(self, deployment: Deployment) -> Sequence[str]:
        """Wait for the model; then as `replicas`."""
        ...

    async def send(self, deployment: Deployment, replica: str) -> T:
        """The answer of one replica. Raises Refusal; hangs up when it is cancelled."""
        ...

    def hang_up(self, answer: T) -> None:
        """Give back an answer that nobody wants."""
        ...


class Attempt(msgspec.Struct, frozen=True):
    """One try, as the exchange log shows it."""

    model: str
    upstream: str
    failure: str | None
    """A Condition, the code of a refusal that was passed on, `cancelled`, or None: it answered."""
    ms: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """What calls leave behind for the calls after them, in one process."""

    breakers: Breakers = field(default_factory=Breakers)
    load: Load = field(default_factory=Load)


@dataclass(slots=True)
class Answered(Generic[T]):
    """A candidate's answer. It counts as under way until `release()`."""

    answer: T
    deployment: Deployment
    fallback: Condition | None
    """What led to another than the first choice."""
    replica: str
    load: Load | None

    def release(self) -> None:
        """The answer is at its end, or nobody wants it. More than once is once."""
        if self.load is not None:
            self.load.end(self.replica, self.deployment.model)
            self.load = None


@dataclass(frozen=True, slots=True)
class _Failure:
    condition: Condition
    refusal: Refusal


class Attempts(Generic[T]):
    """Everything that is tried for one call.

    Args:
        candidates: in the order in which they are asked (gateway/routing/choice.py).
        on_trouble: called with this object at the first failure, or before a wait: from then on it is worth knowing
            whether anybody still wants the answer (`end`).
    """

    def __init__(
        self,
        plan: Plan,
        candidates: Sequence[Candidate],
        sender: Sender[T],
        traffic: Traffic,
        on_trouble: "Callable[[Attempts[T]], object] | None" = None,
    ) -> None:
        self._plan = plan
        self._candidates = candidates
        self._rest: list[Candidate] = list(candidates)
        self._sender = sender
        self._traffic = traffic
        self._on_trouble = on_trouble
        self._seen: list[Condition] = [] if plan.targets else ["not_loaded"]
        self._failures: list[_Failure] = []
        self._task: asyncio.Task[Any] | None = None
        self._ended: Refusal | None = None
        self._opens_in = math.inf
        """Seconds until one of the breakers that were met open lets a call through."""
        self.made: list[Attempt] = []
        """Every try so far."""
        self.deadline: float | None = None
        """When the whole call must be over (clock of the event loop)."""

    def end(self, refusal: Refusal) -> None:
        """Stop whatever goes on now: `run` raises `refusal`. Before and after `run` it does nothing."""
        if self._task is not None and self._ended is None:
            self._ended = refusal
            self._task.cancel()

    async def run(self) -> Answered[T]:
        """The first answer.

        Raises:
            Refusal: the client's fault, the most telling failure, UpstreamTimeout past `timeouts.total`, or `end`'s.
        """
        self._task = task = asyncio.current_task()
        try:
            plan = self._plan
            if plan.timeouts.total is not None:
                return await self._answered_within(plan.timeouts.total)
            if plan.hedge is None and (first := self._next()) is not None:  # most calls are this one try
                return await self._retried(first) or await self._answered()
            return await self._answered()
        except asyncio.CancelledError:
            if self._ended is None or (task and task.uncancel()):
                raise  # somebody else wants the whole task to end
            raise self._ended from None
        finally:
            self._task = self._on_trouble = None  # who knows this object needs not be known to it any longer

    async def _answered_within(self, seconds: float) -> Answered[T]:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                self.deadline = scope.when()
                return await self._answered()
        except TimeoutError:
            if not scope.expired():
                raise
            raise UpstreamTimeout(f"No answer came within the {seconds:g} s that this call may take.") from None

    async def _answered(self) -> Answered[T]:
        plan = self._plan
        answered = await (self._hedged(plan.hedge.after_ms / 1000) if plan.hedge else self._in_turn())
        if answered is None and not self._failures and plan.route is None:
            # a breaker spares who has a choice; a model that nobody put behind a route is asked all the same
            answered = await self._retried(self._candidates[0], insist=True)
        if answered is None:
            raise self._most_telling()
        return answered

    async def _in_turn(self) -> Answered[T] | None:
        """Ask whoever is left; None when nobody has answered."""
        while (candidate := self._next()) is not None:
            if (answered := await self._retried(candidate)) is not None:
                return answered
        return None

    def _next(self) -> Candidate | None:
        """A target, or a fallback for what was seen; one that waits for another failure may still get its turn."""
        if not self._seen:
            is_first = 0 < len(self._rest) == len(self._candidates)
            return self._rest.pop(0) if is_first else None
        for number, candidate in enumerate(self._rest):
            if not candidate.on.isdisjoint(self._seen):
                return self._rest.pop(number)
        return None

    async def _hedged(self, after: float) -> Answered[T] | None:
        """As `_in_turn`, by two at a time once `after` seconds have gone without an answer: they share who is left."""
        first = asyncio.create_task(self._in_turn())  # noqa: TID251 awaited in _drop, however this ends
        walks = {first}
        winner: Answered[T] | None = None
        refused: Refusal | None = None
        try:
            done, pending = await asyncio.wait(walks, timeout=after)
            if not done:
                self._seen.append("timeout")
                walks.add(asyncio.create_task(self._in_turn()))  # noqa: TID251 the same
                pending = set(walks)
            while True:
                for walk in done:
                    if walk is not first and isinstance(error := walk.exception(), Refusal):
                        refused = error  # the first, which it was only to be faster than, may still answer
                    else:
                        winner = walk.result() or winner
                if winner or not pending:
                    break
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if refused and not winner and not self._failures:
                raise refused
            return winner
        finally:
            await self._drop(walks, winner)

    async def _drop(self, walks: set[asyncio.Task[Answered[T] | None]], winner: Answered[T] | None) -> None:
        """Hang up everybody but the winner, also one that answers in the same moment; and the winner, too, where the call ends
        meanwhile."""
        for walk in walks:
            walk.add_done_callback(lambda walk: self._give_back(walk, winner))
            walk.cancel()
        try:
            await asyncio.gather(*walks, return_exceptions=True)
        except BaseException:
            if winner is not None:
                self._hang_up(winner)
            raise

    def _give_back(self, walk: asyncio.Task[Answered[T] | None], winner: Answered[T] | None) -> None:
        found = None if walk.cancelled() or walk.exception() else walk.result()
        if found is not None and found is not winner:
            self._hang_up(found)

    def _hang_up(self, answered: Answered[T]) -> None:
        answered.release()
        self._sender.hang_up(answered.answer)

    async def _retried(self, candidate: Candidate, *, insist: bool = False) -> Answered[T] | None:
        """One candidate, as often as it is worth it; None when the next one should be asked.

        Args:
            insist: do not heed the breakers.
        """
        deployment, sender = candidate.deployment, self._sender
        tried: list[str] = []
        for turn in count(1):
            replicas: Sequence[str] = ()  # where nobody has it any more, there is nobody else to ask
            began = asked = time.perf_counter()
            try:
                found = sender.replicas(deployment)
                if found is None:
                    self._trouble()
                    found, asked = await sender.loaded(deployment), time.perf_counter()
                replicas = found
                replica = self._choose(deployment, replicas, tried, insist=insist)
                if replica is None:
                    return None
                tried.append(replica)
                self._traffic.load.begin(replica, deployment.model)
                try:
                    answer = await sender.send(deployment, replica)
                except BaseException as error:
                    self._lost(deployment, replica, error, asked)
                    raise
                return self._won(candidate, replica, answer, asked)
            except Refusal as refusal:
                failure = self._failed(deployment, refusal, began)
            elsewhere = any(replica not in tried for replica in replicas)
            wait = self._wait(failure, turn, elsewhere=elsewhere) if failure else None
            if wait is None:
                break
            await asyncio.sleep(wait)
        return None

    def _won(self, candidate: Candidate, replica: str, answer: T, began: float) -> Answered[T]:
        """A try has come to an answer."""
        deployment, traffic = candidate.deployment, self._traffic
        if traffic.breakers.failing:
            traffic.breakers.succeeded((deployment.upstream.name, replica, deployment.model))
        self._note(deployment, None, began)
        return Answered(answer, deployment, self._led_to(candidate), replica, traffic.load)

    def _lost(self, deployment: Deployment, replica: str, error: BaseException, began: float) -> None:
        """A try has come to none."""
        upstream = deployment.upstream
        self._traffic.load.end(replica, deployment.model)
        self._judge((upstream.name, replica, deployment.model), error, is_engine=upstream.is_engine)
        if not isinstance(error, Refusal):
            self._note(deployment, CANCELLED, began)

    def _judge(self, key: Key, error: BaseException, *, is_engine: bool) -> None:
        """What the end of a try says about the upstream."""
        condition = condition_of(error, is_engine=is_engine) if isinstance(error, Refusal) else None
        if condition in ILL:
            self._traffic.breakers.failed(key, condition, self._plan.breaker)
        elif condition or isinstance(error, UpstreamRefused):
            self._traffic.breakers.succeeded(key)
        else:
            self._traffic.breakers.abandoned(key)

    def _failed(self, deployment: Deployment, refusal: Refusal, began: float) -> _Failure | None:
        """Note what failed. None: this candidate cannot take such a call, which is no answer to an earlier failure.

        Raises:
            Refusal: the client's own fault, or this process ends.
        """
        condition = condition_of(refusal, is_engine=deployment.upstream.is_engine)
        self._note(deployment, condition or refusal.code or refusal.type, began)
        if condition is None:
            if isinstance(refusal, InvalidRequest) and self._failures:
                return None
            raise refusal
        self._trouble()
        failure = _Failure(condition, refusal)
        self._failures.append(failure)
        self._seen.append(condition)
        return failure

    def _trouble(self) -> None:
        act, self._on_trouble = self._on_trouble, None
        if act is not None:
            act(self)

    def _note(self, deployment: Deployment, failure: str | None, began: float) -> None:
        ms = round((time.perf_counter() - began) * 1e6) / 1000  # to the microsecond
        self.made.append(Attempt(deployment.model, deployment.upstream.name, failure, ms))

    def _choose(self, deployment: Deployment, replicas: Sequence[str], tried: list[str], *, insist: bool) -> str | None:
        """The least loaded replica, those first that have not failed for this call; None: every breaker is open."""
        breakers, spec = self._traffic.breakers, self._plan.breaker
        if len(replicas) == 1 and not breakers.failing:
            return replicas[0]
        if len(replicas) > 1:
            load, toss = self._traffic.load, random.random
            replicas = sorted(replicas, key=lambda url: (url in tried, load.of_replica(url), toss()))
        keys = [(deployment.upstream.name, replica, deployment.model) for replica in replicas]
        for key, replica in zip(keys, replicas, strict=True):
            if insist or breakers.admit(key, spec):
                return replica
        self._seen.extend(breakers.condition(key) for key in keys)
        self._opens_in = min(self._opens_in, *(breakers.seconds_left(key, spec) for key in keys))
        return None

    def _wait(self, failure: _Failure, turns: int, *, elsewhere: bool) -> float | None:
        """Seconds until the next try of the same candidate; None for no more.

        Args:
            turns: that it has had.
            elsewhere: it has a replica that was not tried.

        Twofold from try to try, between half and all of it by chance, so that clients that failed together do not come
        back together. An upstream that asks for more than the longest wait would only refuse again.
        """
        retries = self._plan.retries
        if turns > retries.count or not may_pass(failure.refusal, failure.condition, elsewhere=elsewhere):
            return None
        if elsewhere:
            return 0.0
        asked, longest = retry_after(failure.refusal), retries.max_backoff_ms / 1000
        if failure.condition == "timeout" or asked > longest:
            return None
        grown = min(longest, retries.backoff_ms / 1000 * 2 ** min(turns - 1, 30))
        return max(asked, grown * random.uniform(0.5, 1.0))  # noqa: S311 no secret

    def _led_to(self, candidate: Candidate) -> Condition | None:
        if candidate is self._candidates[0] and self._plan.targets:
            return None
        return next((seen for seen in reversed(self._seen) if seen in candidate.on), None)

    def _most_telling(self) -> Refusal:
        if not self._failures:
            seconds = math.ceil(min(self._opens_in, 3600))
            return Unavailable(
                f"Every model behind `{self._plan.name}` has failed again and again and is left alone for {seconds} s.",
                retry_after=max(1, seconds),
            )
        return min(self._failures, key=lambda failure: TELLING.index(failure.condition)).refusal
