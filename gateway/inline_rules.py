"""Rules of a route, held against an answer before it leaves: in processes of their own (gateway/rule_processes.py), within
the time that a check has. What is not done in time is an error: the answer leaves, and is flagged as unchecked.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import msgspec

from gateway.errors import Withheld
from gateway.exchanges import checked, withholding
from gateway.exchanges.checked import CheckSaid
from gateway.protocol.routes import Check
from gateway.rule_frames import Question, Said
from gateway.rule_processes import RuleProcesses, failed
from gateway.streaming import Relay

FLAGS = "x-tuneway-flags"


@dataclass(frozen=True, slots=True)
class Case:
    """An answer on its way."""

    route: str
    """`name@revision`."""
    checks: Sequence[Check]
    request: bytes

    @property
    def blocks(self) -> bool:
        return any(check.mode == "block" for check in self.checks)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    verdicts: tuple[CheckSaid, ...] = ()

    @property
    def withheld(self) -> dict[int, str]:
        """Choice -> the check that it is withheld for."""
        broken = [each for each in self.verdicts if each.mode == "block" and each.passed is False]
        return {each.choice_index: each.check for each in reversed(broken)}

    @property
    def refusal(self) -> Withheld | None:
        """For the log."""
        if not self.verdicts:
            return None
        names = sorted(set(self.withheld.values()))
        return Withheld(self.verdicts[0].route, names) if names else None

    @property
    def headers(self) -> dict[str, str]:
        """`name` of each check that an answer does not pass, `name=error` where that could not be told."""
        if not self.verdicts:
            return {}
        flags = {each.check: each.check for each in self.verdicts if each.passed is False}
        errors = {each.check: f"{each.check}=error" for each in self.verdicts if each.passed is None}
        told = errors | flags
        return {FLAGS: ", ".join(told.values())} if told else {}

    @property
    def record(self) -> bytes | None:
        return checked.encode(self.verdicts) if self.verdicts else None


NOTHING = Found()


@dataclass
class InlineRules(RuleProcesses):
    """The processes of one gateway process that check what leaves; none until a route has checks."""

    async def check(self, case: Case, reply: bytes, *, streamed: bool = False) -> Found:
        """Hold a reply against all checks at a time. Raises nothing but CancelledError."""
        await self.ready()
        found = await asyncio.gather(*(self._check(case, each, reply, streamed=streamed) for each in case.checks))
        return Found(tuple(said for some in found for said in some))

    async def _check(self, case: Case, check: Check, reply: bytes, *, streamed: bool) -> list[CheckSaid]:
        rules = msgspec.json.encode(check.rules)
        question = Question(rules=rules, request=case.request, reply=reply, streamed=streamed)
        began = time.perf_counter()
        try:
            said = await self.ask(question, check.timeout_ms / 1000)
        except TimeoutError:
            said = [failed("timeout", f"The check took longer than its {check.timeout_ms:.0f} ms.")]
        ms = (time.perf_counter() - began) * 1000
        return [_told(case, check, each, ms) for each in said]


async def frames(
    rules: InlineRules, case: Case, relay: Relay, sent: AsyncIterator[bytes], tell: Callable[[Found], object]
) -> AsyncIterator[bytes]:
    """A stream's frames: as they come, or, where a check may block, all of them once they are checked.

    Args:
        tell: is told what was found, before the last of them.
    """
    held: list[bytes] = []
    async for frame in sent:
        if case.blocks:
            held.append(frame)
        else:
            yield frame
    found = await rules.check(case, relay.raw(), streamed=True)
    tell(found)
    for frame in withholding.frames(held, found.refusal):
        yield frame


def _told(case: Case, check: Check, each: Said, ms: float) -> CheckSaid:
    return CheckSaid(
        check=check.name,
        mode=check.mode,
        route=case.route,
        rules=list(check.rules),
        judge_version_id=check.judge_version_id,
        choice_index=each.index,
        passed=each.passed,
        score=each.score,
        rationale=each.rationale,
        said=each.said,
        error_code=each.error_code,
        ms=ms,
    )
