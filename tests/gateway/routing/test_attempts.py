"""From a plan to an answer, with a sender that fails on command."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.errors import (
    ClientLeft,
    ErrorObject,
    InvalidRequest,
    ModelLoading,
    Refusal,
    Unavailable,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.protocol.routes import Breaker, Hedge, Retries, RouteTimeouts
from gateway.routing.attempts import Answered, Attempts, Traffic
from gateway.routing.deployment import Deployment
from gateway.routing.plan import Plan
from tests.gateway.routing.plans import fallback, plan, route
from tests.polling import until

pytestmark = pytest.mark.anyio

FAST = Retries(count=1, backoff_ms=1, max_backoff_ms=5)
NONE = Retries(count=0)
BROKEN = UpstreamFailed("broken", answered=500)
AWAY = UpstreamFailed("away", reached=False)
LATE = UpstreamTimeout("late")
LIMIT = UpstreamRefused(429, ErrorObject(message="slow down", type="requests"), {"retry-after": "7"})
LONG = UpstreamRefused(400, ErrorObject(message="no", type="x", code="context_length_exceeded"))
FAULT = UpstreamRefused(400, ErrorObject(message="your fault", type="x"))
HANG = "hang"


class Sender:
    """Answers with the model's name, unless told otherwise: model -> what its tries come to, one after the other, the
    last for all that follow."""

    def __init__(self, **outcomes: Any) -> None:
        self.outcomes = {name: list(found) if isinstance(found, list) else [found] for name, found in outcomes.items()}
        self.asked: list[str] = []
        """Base URLs."""
        self.cancelled: list[str] = []
        self.dropped: list[str] = []
        self.unloaded: set[str] = set()
        """Models that have to be loaded first: until `go`, which also ends what hangs."""
        self.go = asyncio.Event()

    def replicas(self, deployment: Deployment) -> Sequence[str] | None:
        return None if deployment.model in self.unloaded else deployment.upstream.base_urls

    async def loaded(self, deployment: Deployment) -> Sequence[str]:
        await self.go.wait()
        return deployment.upstream.base_urls

    async def send(self, deployment: Deployment, replica: str) -> str:
        self.asked.append(replica.removeprefix("http://").removesuffix("/v1"))
        found = self.outcomes.get(deployment.model, [None])
        outcome = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(outcome, Refusal):
            raise outcome
        if outcome == HANG:
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled.append(deployment.model)
                raise
        return deployment.model

    def hang_up(self, answer: str) -> None:
        self.dropped.append(answer)


def attempts(of: Plan, sender: Sender, traffic: Traffic | None = None) -> Attempts[str]:
    return Attempts(of, (*of.targets, *of.fallbacks), sender, traffic or Traffic())


async def run(of: Plan, sender: Sender, traffic: Traffic | None = None) -> Answered[str]:
    traffic = traffic or Traffic()
    answered = await attempts(of, sender, traffic).run()
    assert traffic.load.total == 1
    answered.release()
    answered.release()
    assert traffic.load.total == 0
    return answered


async def refusal(of: Plan, sender: Sender, traffic: Traffic | None = None) -> Refusal:
    traffic = traffic or Traffic()
    with pytest.raises(Refusal) as raised:
        await attempts(of, sender, traffic).run()
    assert traffic.load.total == 0
    return raised.value


def made(of: Attempts[str]) -> list[tuple[str, str | None]]:
    return [(each.model, each.failure) for each in of.made]


class TestRetries:
    async def test_the_first_answer_is_the_only_try(self) -> None:
        sender = Sender()
        tried = attempts(plan(), sender)
        answered = await tried.run()
        assert (answered.answer, answered.fallback, made(tried)) == ("a", None, [("a", None)])

    @pytest.mark.parametrize("failure", [BROKEN, AWAY])
    async def test_what_may_pass_is_tried_again(self, failure: Refusal) -> None:
        sender = Sender(a=[failure, None])
        tried = attempts(plan(retries=FAST), sender)
        assert (await tried.run()).fallback is None
        assert [each.failure is None for each in tried.made] == [False, True]
        assert all(each.ms >= 0 for each in tried.made)

    async def test_as_often_as_it_is_allowed(self) -> None:
        sender = Sender(a=BROKEN)
        assert await refusal(plan(retries=Retries(count=3, backoff_ms=1)), sender) is BROKEN
        assert len(sender.asked) == 4

    @pytest.mark.parametrize("failure", [LATE, LONG, ModelLoading("x"), UpstreamFailed("x", answered=401)])
    async def test_what_stays_is_not(self, failure: Refusal) -> None:
        sender = Sender(a=failure)
        of = plan(retries=FAST)
        if isinstance(failure, ModelLoading):
            failure.headers["x-should-retry"] = "false"
        assert await refusal(of, sender) is failure
        assert len(sender.asked) == 1

    async def test_a_limit_that_lasts_longer_than_the_longest_wait_is_passed_on(self) -> None:
        sender = Sender(a=LIMIT)
        assert await refusal(plan(retries=FAST), sender) is LIMIT
        assert (len(sender.asked), LIMIT.headers) == (1, {"retry-after": "7"})

    async def test_waits_grow_and_keep_to_what_was_asked(self) -> None:
        of = attempts(plan(retries=Retries(count=9, backoff_ms=100, max_backoff_ms=1000)), Sender())
        failed = of._failed(of._candidates[0].deployment, BROKEN, 0.0)
        assert failed is not None
        for tries, most in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (9, 1.0)):
            wait = of._wait(failed, tries, elsewhere=False)
            assert wait is not None
            assert most / 2 <= wait <= most
        asking = UpstreamFailed("x", answered=500, headers={"retry-after-ms": "900"})
        failed = of._failed(of._candidates[0].deployment, asking, 0.0)
        assert failed is not None
        assert of._wait(failed, 1, elsewhere=False) == 0.9


class TestReplicas:
    async def test_a_retry_goes_to_another_at_once(self) -> None:
        sender = Sender(a=[LATE, None])
        long = Retries(count=1, backoff_ms=60_000, max_backoff_ms=60_000)
        assert (await run(plan(replicas=2, retries=long), sender)).answer == "a"
        assert sorted(sender.asked) == ["a0", "a1"]

    async def test_the_least_loaded_is_asked(self) -> None:
        sender, traffic = Sender(), Traffic()
        traffic.load.begin("http://a0/v1", "other")
        for _ in range(5):
            (await attempts(plan(replicas=2), sender, traffic).run()).release()
        assert sender.asked == ["a1"] * 5

    async def test_equals_take_turns_by_chance(self) -> None:
        sender = Sender()
        for _ in range(40):
            await run(plan(replicas=2), sender)
        assert set(sender.asked) == {"a0", "a1"}

    async def test_one_whose_breaker_is_open_is_passed_over(self) -> None:
        sender, traffic = Sender(), Traffic()
        for _ in range(5):
            traffic.breakers.failed(("a", "http://a0/v1", "a"), "timeout", Breaker())
        for _ in range(5):
            await run(plan(replicas=2), sender, traffic)
        assert sender.asked == ["a1"] * 5

    async def test_one_that_nobody_has_any_more_is_not_asked_without_end(self) -> None:
        """Its replicas fell asleep after the first try, which another was still there for then."""

        class Leaving(Sender):
            turns = 0

            def replicas(self, deployment: Deployment) -> Sequence[str] | None:
                self.turns += deployment.model == "a"
                assert self.turns < 10
                if self.turns > 1 and deployment.model == "a":
                    raise ModelLoading("asleep")
                return super().replicas(deployment)

        sender = Leaving(a=BROKEN)
        of = plan(route("a", fallbacks=(fallback("b"),), retries=FAST), replicas=2)
        assert (await run(of, sender)).answer == "b"
        assert sender.turns == 2


class TestFallbacks:
    async def test_after_the_retries(self) -> None:
        sender = Sender(a=BROKEN)
        tried = attempts(plan(route("a", fallbacks=(fallback("b"),), retries=FAST)), sender)
        answered = await tried.run()
        assert (answered.answer, answered.fallback) == ("b", "server_error")
        assert made(tried) == [("a", "server_error"), ("a", "server_error"), ("b", None)]

    @pytest.mark.parametrize(
        ("failure", "condition"),
        [
            (BROKEN, "server_error"),
            (AWAY, "connection"),
            (LATE, "timeout"),
            (LIMIT, "rate_limit"),
            (LONG, "context_length"),
        ],
    )
    async def test_only_on_their_conditions(self, failure: Refusal, condition: str) -> None:
        others = tuple(each for each in ("server_error", "connection", "timeout", "rate_limit") if each != condition)
        of = plan(route("a", fallbacks=(fallback("b", *others), fallback("c", condition)), retries=NONE))
        sender = Sender(a=failure)
        answered = await run(of, sender)
        assert (answered.answer, answered.fallback, sender.asked) == ("c", condition, ["a0", "c0"])

    async def test_a_later_failure_may_open_an_earlier_one(self) -> None:
        of = plan(route("a", fallbacks=(fallback("b", "timeout"), fallback("c", "server_error")), retries=NONE))
        sender = Sender(a=BROKEN, c=LATE)
        assert (await run(of, sender)).fallback == "timeout"
        assert sender.asked == ["a0", "c0", "b0"]

    async def test_another_target_comes_first(self) -> None:
        of = plan(route("a", "b", fallbacks=(fallback("c"),), retries=NONE))
        sender = Sender(a=AWAY)
        answered = await run(of, sender)
        assert (answered.answer, answered.fallback) == ("b", "connection")

    async def test_the_clients_fault_ends_it_at_once(self) -> None:
        sender = Sender(a=FAULT)
        assert await refusal(plan(route("a", fallbacks=(fallback("b"),), retries=FAST)), sender) is FAULT
        assert sender.asked == ["a0"]

    async def test_one_that_cannot_take_such_a_call_is_passed_over(self) -> None:
        cannot = InvalidRequest("logprobs are not supported", param="logprobs")
        of = plan(route("a", fallbacks=(fallback("b"), fallback("c")), retries=NONE))
        tried = attempts(of, Sender(a=BROKEN, b=cannot))
        assert (await tried.run()).answer == "c"
        assert made(tried)[1] == ("b", "invalid_value")
        assert await refusal(of, Sender(a=BROKEN, b=cannot, c=cannot)) is BROKEN
        assert await refusal(of, Sender(a=cannot)) is cannot

    async def test_a_route_without_targets_that_are_left(self) -> None:
        of = plan(route("a", fallbacks=(fallback("b", "timeout"), fallback("c", "not_loaded"))))
        gone = Plan(of.name, (), of.fallbacks, route=of.route)
        answered = await run(gone, Sender())
        assert (answered.answer, answered.fallback) == ("c", "not_loaded")


class TestMostTelling:
    @pytest.mark.parametrize(
        ("first", "second", "told"),
        [
            (BROKEN, LIMIT, LIMIT),
            (LIMIT, BROKEN, LIMIT),
            (LIMIT, LONG, LONG),
            (AWAY, LATE, LATE),
            (LATE, BROKEN, BROKEN),
            (BROKEN, UpstreamFailed("second"), BROKEN),
        ],
    )
    async def test_is_what_the_client_hears(self, first: Refusal, second: Refusal, told: Refusal) -> None:
        of = plan(route("a", fallbacks=(fallback("b"),), retries=NONE))
        assert await refusal(of, Sender(a=first, b=second)) is told


class TestBreaker:
    async def test_a_target_that_fails_gets_no_traffic(self) -> None:
        of, traffic = plan(route("a", fallbacks=(fallback("b"),), retries=NONE, breaker=Breaker(failures=2))), Traffic()
        sender = Sender(a=BROKEN)
        for _ in range(4):
            answered = await run(of, sender, traffic)
        assert sender.asked == ["a0", "b0", "a0", "b0", "b0", "b0"]
        assert answered.fallback == "server_error"

    async def test_a_retry_does_not_go_through_one_that_has_just_opened(self) -> None:
        of = plan(route("a", retries=Retries(count=5, backoff_ms=1), breaker=Breaker(failures=2)))
        sender = Sender(a=BROKEN)
        assert await refusal(of, sender) is BROKEN
        assert len(sender.asked) == 2

    async def test_a_route_with_nothing_else_says_when_to_come_back(self) -> None:
        of, traffic = plan(route("a", retries=NONE, breaker=Breaker(failures=1, open_seconds=30))), Traffic()
        sender = Sender(a=BROKEN)
        await refusal(of, sender, traffic)
        told = await refusal(of, sender, traffic)
        assert (type(told), told.status, told.headers, len(sender.asked)) == (
            Unavailable,
            503,
            {"retry-after": "30"},
            1,
        )

    async def test_a_model_without_a_route_is_asked_all_the_same(self) -> None:
        of, traffic = plan(retries=NONE, breaker=Breaker(failures=1)), Traffic()
        sender = Sender(a=[BROKEN, BROKEN, None])
        for _ in range(2):
            assert await refusal(of, sender, traffic) is BROKEN
        assert (await run(of, sender, traffic)).answer == "a"
        assert len(traffic.breakers) == 0

    @pytest.mark.parametrize("alive", [LIMIT, LONG, FAULT])
    async def test_what_shows_an_upstream_alive_closes_it(self, alive: Refusal) -> None:
        of, traffic = plan(retries=NONE), Traffic()
        await refusal(of, Sender(a=BROKEN), traffic)
        assert len(traffic.breakers) == 1
        await refusal(of, Sender(a=alive), traffic)
        assert len(traffic.breakers) == 0

    async def test_a_probe_that_is_cancelled_leaves_room_for_another(self) -> None:
        of, traffic = plan(route("a", retries=NONE, breaker=Breaker(failures=1, open_seconds=0))), Traffic()
        await refusal(of, Sender(a=BROKEN), traffic)
        probe = asyncio.ensure_future(attempts(of, Sender(a=HANG), traffic).run())
        await until(lambda: traffic.load.total)
        assert type(await refusal_while_probed(of, traffic)) is Unavailable
        probe.cancel()
        await asyncio.wait([probe])
        assert (await run(of, Sender(), traffic)).answer == "a"


async def refusal_while_probed(of: Plan, traffic: Traffic) -> Refusal:
    with pytest.raises(Refusal) as raised:
        await attempts(of, Sender(), traffic).run()
    return raised.value


class TestHedge:
    def of(self, **more: Any) -> Plan:
        return plan(route("a", fallbacks=(fallback("b"),), hedge=Hedge(after_ms=10), retries=NONE, **more))

    async def test_the_faster_one_wins_and_the_other_is_hung_up(self) -> None:
        sender, traffic = Sender(a=HANG), Traffic()
        tried = attempts(self.of(), sender, traffic)
        answered = await tried.run()
        assert (answered.answer, answered.fallback, sender.cancelled) == ("b", "timeout", ["a"])
        assert made(tried) == [("b", None), ("a", "cancelled")]
        answered.release()
        assert (traffic.load.total, len(traffic.breakers)) == (0, 0)

    async def test_one_that_answers_in_time_is_alone(self) -> None:
        sender = Sender()
        assert (await run(self.of(), sender)).fallback is None
        assert sender.asked == ["a0"]

    async def test_the_first_may_still_win(self) -> None:
        sender = Sender(a=HANG, b=HANG)
        running = asyncio.ensure_future(run(self.of(), sender))
        await until(lambda: len(sender.asked) == 2)
        sender.go.set()
        answer = (await running).answer
        assert sorted([answer, *sender.dropped, *sender.cancelled]) == ["a", "b"], "one wins, one is given back"

    async def test_a_failure_before_the_time_falls_back_as_ever(self) -> None:
        sender = Sender(a=BROKEN)
        assert (await run(self.of(), sender)).fallback == "server_error"

    async def test_both_fail(self) -> None:
        sender = Sender(a=HANG, b=LIMIT)
        running = asyncio.ensure_future(attempts(self.of(), sender).run())
        await until(lambda: len(sender.asked) == 2)
        assert not running.done(), "the first may still answer"
        sender.outcomes["a"] = [None]
        sender.go.set()
        assert (await running).answer == "a"

    @pytest.mark.parametrize("refused", [FAULT, InvalidRequest("no such parameter there", param="n")])
    async def test_a_second_that_refuses_such_a_call_does_not_end_the_first(self, refused: Refusal) -> None:
        sender = Sender(a=HANG, b=refused)
        running = asyncio.ensure_future(run(self.of(), sender))
        await until(lambda: len(sender.asked) == 2)
        await asyncio.sleep(0.01)
        sender.go.set()
        assert (await running).answer == "a"

    async def test_cancelling_ends_both(self) -> None:
        sender, traffic = Sender(a=HANG, b=HANG), Traffic()
        running = asyncio.ensure_future(attempts(self.of(), sender, traffic).run())
        await until(lambda: len(sender.asked) == 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (sorted(sender.cancelled), traffic.load.total) == (["a", "b"], 0)

    @pytest.mark.parametrize("turns", range(8))
    async def test_who_leaves_in_the_moment_of_the_answer_leaves_none_behind(self, turns: int) -> None:
        """Args: turns: of the event loop since the second was asked, which answers at once."""
        sender, traffic = Sender(a=HANG), Traffic()
        tried = attempts(self.of(), sender, traffic)
        running = asyncio.ensure_future(tried.run())
        while len(sender.asked) < 2:  # noqa: ASYNC110 turn by turn
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        tried.end(ClientLeft())
        (found,) = await asyncio.gather(running, return_exceptions=True)
        if isinstance(found, Answered):
            found.release()
        else:
            assert isinstance(found, ClientLeft)
            assert ("b", None) not in made(tried) or sender.dropped == ["b"]
        assert traffic.load.total == 0


class TestEnding:
    async def test_past_the_total_time(self) -> None:
        sender, traffic = Sender(a=HANG), Traffic()
        told = await refusal(plan(timeouts=RouteTimeouts(total=0.02)), sender, traffic)
        assert (type(told), str(told)) == (UpstreamTimeout, "No answer came within the 0.02 s that this call may take.")
        assert sender.cancelled == ["a"]

    async def test_the_total_time_includes_the_waits(self) -> None:
        slow = Retries(count=1, backoff_ms=60_000, max_backoff_ms=60_000)
        told = await refusal(plan(retries=slow, timeouts=RouteTimeouts(total=0.02)), Sender(a=BROKEN))
        assert type(told) is UpstreamTimeout

    async def test_the_deadline_is_known(self) -> None:
        tried = attempts(plan(timeouts=RouteTimeouts(total=60.0)), Sender())
        await tried.run()
        assert tried.deadline is not None
        assert 0 < tried.deadline - asyncio.get_running_loop().time() <= 60

    @pytest.mark.parametrize("outcome", [BROKEN, HANG])
    async def test_end_stops_a_wait_or_a_try_at_once(self, outcome: Any) -> None:
        slow, traffic = Retries(count=1, backoff_ms=60_000, max_backoff_ms=60_000), Traffic()
        sender = Sender(a=outcome)
        tried = attempts(plan(retries=slow), sender, traffic)
        running = asyncio.ensure_future(tried.run())
        await until(lambda: sender.asked)
        left = ClientLeft()
        tried.end(left)
        tried.end(Unavailable("later"))
        with pytest.raises(ClientLeft) as raised:
            await running
        assert (raised.value, traffic.load.total, running.cancelling()) == (left, 0, 0)

    async def test_end_after_the_answer_does_nothing(self) -> None:
        tried = attempts(plan(), Sender())
        await tried.run()
        tried.end(ClientLeft())
        await asyncio.sleep(0)

    async def test_a_cancelled_task_stays_cancelled(self) -> None:
        tried = attempts(plan(), Sender(a=HANG))
        running = asyncio.ensure_future(tried.run())
        await asyncio.sleep(0)
        tried.end(ClientLeft())
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    async def test_trouble_is_told_once(self) -> None:
        told: list[Attempts[str]] = []
        of = plan(route("a", fallbacks=(fallback("b"), fallback("c")), retries=FAST))
        tried = Attempts(of, (*of.targets, *of.fallbacks), Sender(a=BROKEN, b=AWAY), Traffic(), told.append)
        await tried.run()
        assert told == [tried]

    async def test_a_wait_for_a_model_is_told_before_it_begins(self) -> None:
        told: list[Attempts[str]] = []
        sender, of = Sender(), plan()
        sender.unloaded.add("a")
        tried = Attempts(of, of.targets, sender, Traffic(), told.append)
        running = asyncio.ensure_future(tried.run())
        await until(lambda: told)
        assert (sender.asked, running.done()) == ([], False)
        sender.go.set()
        assert ((await running).answer, made(tried)) == ("a", [("a", None)])
