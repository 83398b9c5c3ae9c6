"""Every kind of grader run on a sample, and several at once."""

import asyncio
from typing import Any

import pytest

from judges.ask import Answer, Question, SandboxEnd
from judges.grade import Grade
from judges.run import grade
from judges.sample import Sample
from judges.validation import parse
from tests.judges.asking import TOKENS, not_asked, obedient, saying
from tests.judges.examples import CHECK, LABEL, MULTI, PYTHON, SCORE, SIMILARITY

pytestmark = pytest.mark.anyio


class Stopped(Exception):
    """Raised by an asker that must not be answered for."""


async def graded(
    raw: dict[str, Any], text: str = "x", item: Any = None, ask: Any = not_asked, sandbox: Any = None
) -> Grade:
    return await grade(parse(raw), Sample.of_text(text), item or {}, ask, sandbox)


def flags(found: Grade) -> list[str]:
    return [failure.flag for failure in found.failures]


class TestSingle:
    @pytest.mark.parametrize(("text", "reward"), [("x", 1), ("y", 0)])
    async def test_string_check(self, text: str, reward: float) -> None:
        assert (await graded(CHECK, text)).reward == reward

    async def test_text_similarity(self) -> None:
        raw = SIMILARITY | {"evaluation_metric": "rouge_l"}
        found = await graded(raw, "the cat sat on the mat", {"answer": "the cat is on the mat"})
        assert found.reward == pytest.approx(5 / 6)

    async def test_a_missing_path_is_a_failure(self) -> None:
        found = await graded(SIMILARITY, "x", {})
        assert (found.reward, flags(found)) == (None, ["invalid_variable_error"])

    async def test_python(self) -> None:
        requests: list[bytes] = []

        async def sandbox(request: bytes) -> SandboxEnd:
            requests.append(request)
            return SandboxEnd(b'{"started": true}\n{"reward": 0.25}', 0)

        assert (await graded(PYTHON, "x", {"a": 1}, sandbox=sandbox)).reward == 0.25
        assert b'"item":{"a":1}' in requests[0]

    async def test_python_without_a_sandbox(self) -> None:
        assert flags(await graded(PYTHON)) == ["python_grader_server_error"]


class TestMulti:
    async def test_the_formula_combines(self) -> None:
        raw = MULTI | {"graders": {"a": CHECK, "b": SIMILARITY | {"reference": "xy"}, "c": SCORE}}
        found = await graded(raw | {"calculate_output": "0.5 * a + c / 2 + 0 * b"}, ask=obedient(0.5))
        assert found.reward == 0.75
        assert found.sub_rewards == {"a": 1, "b": pytest.approx(0.9, abs=0.3), "c": 0.5}
        assert (found.tokens, found.answered_by) == ({"m-2026": TOKENS}, None)

    @pytest.mark.parametrize(("graders", "formula"), [([CHECK], "c"), (CHECK, "c"), ({"z": CHECK}, "z")])
    async def test_all_three_forms(self, graders: Any, formula: str) -> None:
        found = await graded(MULTI | {"graders": graders, "calculate_output": f"2 * {formula}"})
        assert (found.reward, found.sub_rewards) == (2, {formula: 1})

    async def test_tokens_are_added_up_by_model(self) -> None:
        raw = MULTI | {
            "graders": {"a": LABEL, "b": LABEL, "c": LABEL | {"model": "other"}},
            "calculate_output": "a + b + c",
        }
        found = await graded(raw, ask=obedient("good"))
        assert found.tokens == {"m-2026": TOKENS + TOKENS, "other-2026": TOKENS}
        assert found.scores == {"a": "good", "b": "good", "c": "good"}
        assert (TOKENS + TOKENS).total == 30

    async def test_a_part_that_failed_leaves_no_reward(self) -> None:
        raw = MULTI | {"graders": {"a": CHECK, "b": SCORE}, "calculate_output": "a"}
        found = await graded(raw, ask=saying("splendid"))
        assert (found.reward, found.sub_rewards, flags(found)) == (
            None,
            {"a": 1, "b": None},
            ["model_grader_parse_error"],
        )
        assert found.failures[0].details.startswith("b: ")
        assert found.tokens == {"m-2026": TOKENS}

    @pytest.mark.parametrize(
        ("formula", "flag"),
        [("a +", "formula_parse_error"), ("a + z", "invalid_variable_error"), ("1 / (a - a)", "other_error")],
    )
    async def test_a_formula_that_fails(self, formula: str, flag: str) -> None:
        found = await graded(MULTI | {"graders": {"a": CHECK}, "calculate_output": formula})
        assert (found.reward, flags(found)) == (None, [flag])

    async def test_nobody_is_asked_for_a_formula_that_cannot_be_read(self) -> None:
        found = await graded(MULTI | {"graders": {"a": SCORE}, "calculate_output": "a +"}, ask=not_asked)
        assert flags(found) == ["formula_parse_error"]

    async def test_models_are_asked_at_the_same_time(self) -> None:
        both = asyncio.Barrier(2)

        async def ask(question: Question) -> Answer:
            async with asyncio.timeout(30):
                await both.wait()
            return await obedient(1)(question)

        raw = MULTI | {"graders": {"a": SCORE, "b": SCORE}, "calculate_output": "a + b"}
        assert (await graded(raw, ask=ask)).reward == 2

    async def test_what_the_caller_raises_goes_through_and_ends_the_others(self) -> None:
        ended = asyncio.Event()

        async def ask(question: Question) -> Answer:
            if question.model == "m":
                raise Stopped
            try:
                return await asyncio.Future()
            finally:
                ended.set()

        raw = MULTI | {"graders": {"a": SCORE | {"model": "slow"}, "b": SCORE}, "calculate_output": "a + b"}
        with pytest.raises(Stopped):
            await graded(raw, ask=ask)
        assert ended.is_set()
