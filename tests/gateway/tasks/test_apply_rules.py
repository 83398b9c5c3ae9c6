"""Rules of a judge, applied after the fact."""

import threading
import time

import pytest

from gateway.protocol.judges import RuleSpec
from gateway.tasks import apply_rules as module
from gateway.tasks.apply_rules import apply_rules
from judges.rules.formats import Length
from judges.subject import Subject

SPEC = RuleSpec(rules=[Length(unit="words", most=3)])
ANSWER = Subject(
    messages=[{"role": "user", "content": "Where?"}], answer={"role": "assistant", "content": "Behind the museum."}
)


class TestApplyRules:
    async def test_an_answer_that_keeps_them_passes(self) -> None:
        opinion = await apply_rules(SPEC, ANSWER)
        assert (opinion.status, opinion.passed, opinion.score) == ("ok", True, 1.0)

    async def test_rules_that_hang_are_an_error_and_no_verdict(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stop = threading.Event()

        def hang(*_: object) -> None:
            while not stop.is_set():
                pass

        monkeypatch.setattr(module, "check", hang)
        monkeypatch.setattr(module, "SECONDS", 0.05)
        try:
            opinion = await apply_rules(SPEC, ANSWER)
        finally:
            stop.set()
        assert (opinion.status, opinion.error_code, opinion.score) == ("error", "timeout", None)

    async def test_a_machine_that_is_busy_is_no_fault_of_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The rules come to their turn only after others took much more time than they have."""
        check = module.check

        def late(*asked: object) -> object:
            other = threading.Thread(target=_burn, args=(1.0,))
            other.start()
            other.join()
            return check(*asked)  # type: ignore[arg-type]

        monkeypatch.setattr(module, "check", late)
        monkeypatch.setattr(module, "SECONDS", 0.2)
        assert (await apply_rules(SPEC, ANSWER)).passed


def _burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
