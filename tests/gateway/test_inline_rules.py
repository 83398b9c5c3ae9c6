"""Processes that apply rules: in time or not, and what comes of those that end."""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.exchanges.checked import CheckSaid
from gateway.inference import CHAT_COMPLETIONS, Call
from gateway.inline_rules import Case, Found, InlineRules, frames
from gateway.keys.ring import ApiKey
from gateway.kit.background import Background
from gateway.protocol.routes import Check
from gateway.streaming import Relay
from tests.gateway.routing.plans import plan, route
from tests.polling import until

pytestmark = pytest.mark.anyio

FAKE = (sys.executable, "-m", "tests.fakes.rule_process")
PATIENT = 10_000


def check(type: str, *, name: str = "a", ms: int = PATIENT, mode: Any = "flag", **more: Any) -> Check:
    return Check(name=name, rules=({"type": type} | more,), mode=mode, timeout_ms=ms)


def case(*checks: Check) -> Case:
    return Case("r@1", checks, b"{}")


def is_alive(process: str | None) -> bool:
    try:
        os.kill(int(process or 0), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def rules(background: Background) -> InlineRules:
    return InlineRules(background, 1, FAKE, pause_seconds=0.01)


class TestCheck:
    async def test_every_check_has_its_verdict_by_one_process(self, rules: InlineRules) -> None:
        found = await rules.check(case(check("pass"), check("pass", name="b")), b"{}")
        assert [(each.check, each.passed, each.score, each.route) for each in found.verdicts] == [
            ("a", True, 1.0, "r@1"),
            ("b", True, 1.0, "r@1"),
        ]
        assert len({each.rationale for each in found.verdicts}) == 1
        assert (found.headers, found.refusal) == ({}, None)

    async def test_what_takes_too_long_is_an_error_and_the_next_is_answered(self, rules: InlineRules) -> None:
        found = await rules.check(case(check("slow", ms=20, mode="block", seconds=0.3)), b"{}")
        assert [(each.passed, each.error_code) for each in found.verdicts] == [(None, "timeout")]
        assert found.headers == {"x-tuneway-flags": "a=error"}
        assert found.refusal is None
        assert [each.passed for each in (await rules.check(case(check("pass")), b"{}")).verdicts] == [True]

    async def test_a_process_that_hangs_is_ended_and_another_takes_its_place(self, background: Background) -> None:
        rules = InlineRules(background, 1, FAKE, kill_seconds=0.2, pause_seconds=0.01)
        [before] = (await rules.check(case(check("pass")), b"{}")).verdicts
        await rules.check(case(check("slow", ms=10, seconds=3600)), b"{}")
        [after] = (await rules.check(case(check("pass")), b"{}")).verdicts
        assert after.passed
        assert after.rationale != before.rationale
        assert not is_alive(before.rationale)

    @pytest.mark.parametrize("fault", ["die", "babble"])
    async def test_a_process_that_ends_is_an_error_and_starts_again(self, rules: InlineRules, fault: str) -> None:
        found = await rules.check(case(check(fault)), b"{}")
        assert [(each.passed, each.error_code) for each in found.verdicts] == [(None, "fault")]
        assert [each.passed for each in (await rules.check(case(check("pass")), b"{}")).verdicts] == [True]

    async def test_where_none_can_be_started_answers_leave(self, background: Background) -> None:
        rules = InlineRules(background, 1, ("/nowhere/python",), pause_seconds=0.01)
        found = await rules.check(case(check("pass", ms=10)), b"{}")
        assert [each.error_code for each in found.verdicts] == ["timeout"]

    async def test_they_end_with_the_gateway(self, background: Background) -> None:
        rules = InlineRules(background, 2, FAKE)
        found = await rules.check(case(check("pass")), b"{}")
        await background.close()
        await until(lambda: not is_alive(found.verdicts[0].rationale))


class TestFound:
    def said(self, name: str, mode: str, passed: bool | None, choice: int = 0) -> CheckSaid:
        return CheckSaid(check=name, mode=mode, route="r@1", rules=[], passed=passed, choice_index=choice)

    def test_only_what_breaks_a_blocking_check_is_withheld(self) -> None:
        found = Found(
            (
                self.said("a", "flag", False),
                self.said("b", "block", None),
                self.said("c", "block", False, 1),
                self.said("d", "block", True),
            )
        )
        assert found.withheld == {1: "c"}
        assert found.headers == {"x-tuneway-flags": "b=error, a, c"}
        assert str(found.refusal) == "The answer was withheld: it does not pass `c` of the route `r@1`."

    def test_nothing_was_checked(self) -> None:
        assert (Found().withheld, Found().headers, Found().record, Found().refusal) == ({}, {}, None, None)


class TestFrames:
    async def sent(self, rules: InlineRules, mode: str) -> list[tuple[bytes, int]]:
        """Each frame, and how many were taken from the upstream by then."""
        taken: list[bytes] = []

        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b"1", b"2"):
                taken.append(piece)
                yield piece

        told: list[Found] = []
        relay = Relay(show_usage=False, strip_running=False)
        of = case(check("pass", mode=mode))
        found = [(frame, len(taken)) async for frame in frames(rules, of, relay, pieces(), told.append)]
        assert [each.passed for each in told[0].verdicts] == [True]
        return found

    async def test_flags_hold_nothing_up(self, rules: InlineRules) -> None:
        assert await self.sent(rules, "flag") == [(b"1", 1), (b"2", 2)]

    async def test_what_may_be_blocked_is_held_to_the_end(self, rules: InlineRules) -> None:
        assert await self.sent(rules, "block") == [(b"1", 2), (b"2", 2)]


class TestCase:
    def call(self, purpose: str = "", *checks: Check) -> Call:
        call = Call(CHAT_COMPLETIONS, None, b"{}", "req_1", key=ApiKey("key_1", "k", "proj_1", None, purpose=purpose))
        call.plan = plan(route("a", checks=checks))
        return call

    def test_is_what_the_route_checks(self) -> None:
        checked = check("pass")
        assert self.call("", checked).case == Case("r@1", (checked,), b"{}")
        assert self.call("").case is None

    @pytest.mark.parametrize("purpose", ["judge", "eval"])
    def test_what_tuneway_asks_itself_is_none(self, purpose: str) -> None:
        assert self.call(purpose, check("pass")).case is None
