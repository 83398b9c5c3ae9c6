"""Which two answers become a preference pair."""

from pathlib import Path
from typing import Any

import pytest

from tests.gateway.datasets.building.world import World, built, pairs, sentence, sides

pytestmark = pytest.mark.anyio

GOOD, BAD = sentence(101), sentence(102)


async def asked_twice(world: World, first: Any = GOOD, second: Any = BAD, **more: Any) -> tuple[str, str]:
    """Two calls of the same prompt; their ids."""
    return world.call("Where is it?", first, **more), world.call("Where is it?", second, **more)


class TestEdits:
    async def test_what_a_person_wrote_is_preferred_to_the_answer(self, world: World, tmp_path: Path) -> None:
        call = world.call([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}], BAD)
        edit = await world.edit(call, GOOD)
        await world.store()
        version = await built(world, tmp_path, pairs("edits"))
        assert version.lines == [
            {
                "input": {
                    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]
                },
                "preferred_output": [{"role": "assistant", "content": GOOD}],
                "non_preferred_output": [{"role": "assistant", "content": BAD}],
            }
        ]
        assert version.report.by_signal == {"edit": 1}
        assert edit


class TestVotes:
    @pytest.mark.parametrize(("preference", "expected"), [("a", (GOOD, BAD)), ("b", (BAD, GOOD))])
    async def test_the_preferred_answer_is_chosen(
        self, world: World, tmp_path: Path, preference: str, expected: tuple[str, str]
    ) -> None:
        first, second = await asked_twice(world)
        await world.vote(first, second, preference)
        await world.store()
        assert sides(await built(world, tmp_path, pairs("votes"))) == [expected]

    @pytest.mark.parametrize("preference", ["tie", "both_bad"])
    async def test_a_tie_is_no_pair(self, world: World, tmp_path: Path, preference: str) -> None:
        """Pitfall 12."""
        first, second = await asked_twice(world)
        await world.vote(first, second, preference)
        await world.store()
        assert (await built(world, tmp_path, pairs("votes"))).dropped == {"tie": 1}

    async def test_the_majority_decides_whichever_was_named_first(self, world: World, tmp_path: Path) -> None:
        first, second = await asked_twice(world)
        await world.vote(first, second, "a")
        await world.vote(second, first, "b")
        await world.vote(first, second, "b")
        await world.store()
        version = await built(world, tmp_path, pairs("votes"))
        assert (sides(version), version.report.considered) == ([(GOOD, BAD)], 1)

    async def test_people_who_disagree_make_no_pair(self, world: World, tmp_path: Path) -> None:
        first, second = await asked_twice(world)
        await world.vote(first, second, "a")
        await world.vote(first, second, "b")
        await world.store()
        assert (await built(world, tmp_path, pairs("votes"))).dropped == {"contradictory": 1}

    async def test_answers_to_different_prompts(self, world: World, tmp_path: Path) -> None:
        first, second = world.call("Where?", GOOD), world.call("When?", BAD)
        await world.vote(first, second, "a")
        await world.store()
        assert (await built(world, tmp_path, pairs("votes"))).dropped == {"different_prompts": 1}

    async def test_an_answer_that_the_filters_leave_out(self, world: World, tmp_path: Path) -> None:
        first, second = world.call("Where?", GOOD), world.call("Where?", BAD, served_model="other")
        await world.vote(first, second, "a")
        world.exchanges[1]["requested_model"] = "other"
        await world.store()
        wanted = pairs("votes", sources={"exchanges": {"models": ["echo"]}})
        assert (await built(world, tmp_path, wanted)).dropped == {"not_taken": 1}

    async def test_a_chosen_answer_that_a_person_disliked(self, world: World, tmp_path: Path) -> None:
        first, second = await asked_twice(world)
        await world.vote(first, second, "a")
        await world.thumb(first, up=False)
        await world.store()
        assert (await built(world, tmp_path, pairs("votes"))).dropped == {"vetoed": 1}


class TestJudges:
    async def test_what_both_orders_come_to(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        first, second = await asked_twice(world)
        llm = {"source": "llm", "judge_version_id": judge}
        orders = [await world.vote(first, second, "a", order_shown=order, **llm) for order in ("ab", "ba")]
        reconciled = await world.vote(first, second, "a", derived_from=orders, **llm)
        await world.store()
        version = await built(world, tmp_path, pairs("judges"), trusted=[judge])
        assert (sides(version), version.report.by_signal) == ([(GOOD, BAD)], {"compared": 1})
        assert reconciled

    async def test_one_order_alone_is_none(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        first, second = await asked_twice(world)
        await world.vote(first, second, "a", order_shown="ab", source="llm", judge_version_id=judge)
        await world.store()
        assert (await built(world, tmp_path, pairs("judges"), trusted=[judge])).dropped == {"one_order_only": 1}

    async def test_a_judge_that_is_not_trusted(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        first, second = await asked_twice(world)
        await world.vote(first, second, "a", source="llm", judge_version_id=judge)
        await world.store()
        assert (await built(world, tmp_path, pairs("judges"))).dropped == {"untrusted_judge": 1}

    async def test_a_person_outweighs_it(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        first, second = await asked_twice(world)
        for _ in range(2):
            await world.vote(first, second, "a", source="llm", judge_version_id=judge)
        await world.vote(first, second, "b")
        await world.store()
        version = await built(world, tmp_path, pairs("judges", "votes"), trusted=[judge])
        assert (sides(version), version.report.by_signal) == ([(BAD, GOOD)], {"vote": 1})


class TestScoredAnswers:
    async def test_of_one_prompt_the_best_and_the_worst(self, world: World, tmp_path: Path) -> None:
        middle = sentence(103)
        for answer, score in ((BAD, 0.2), (middle, 0.5), (GOOD, 0.9)):
            call = world.call("Where is it?", answer)
            await world.judge(call, criterion="rating", score=score)
        await world.store()
        version = await built(world, tmp_path, pairs("regenerated"))
        assert (sides(version), version.report.by_signal) == ([(GOOD, BAD)], {"regenerated": 1})

    async def test_an_answer_that_a_person_vetoed_leaves_the_others(self, world: World, tmp_path: Path) -> None:
        middle = sentence(103)
        for answer, score in ((BAD, 0.2), (middle, 0.5), (GOOD, 0.9)):
            call = world.call("Where is it?", answer)
            await world.judge(call, criterion="rating", score=score)
        await world.thumb(call, up=False)
        await world.store()
        version = await built(world, tmp_path, pairs("regenerated"))
        assert (sides(version), version.dropped) == ([(middle, BAD)], {})

    async def test_so_does_one_that_misses_a_condition(self, world: World, tmp_path: Path) -> None:
        middle = sentence(103)
        for answer, score, label in ((BAD, 0.2, "a"), (middle, 0.5, "a"), (GOOD, 0.9, "b")):
            call = world.call("Where is it?", answer)
            await world.judge(call, criterion="rating", score=score, label=label)
        await world.store()
        wanted = pairs("regenerated", criteria=[{"criterion": "rating", "labels": ["a"]}])
        assert sides(await built(world, tmp_path, wanted)) == [(middle, BAD)]

    @pytest.mark.parametrize(("both", "expected"), [(False, [(GOOD, sentence(103))]), (True, [(GOOD, BAD)])])
    async def test_an_answer_that_a_person_liked_is_not_rejected(
        self, world: World, tmp_path: Path, both: bool, expected: list[tuple[str, str]]
    ) -> None:
        """Unless the chosen one was liked, too."""
        for answer, score in ((BAD, 0.2), (sentence(103), 0.65), (GOOD, 0.9)):
            call = world.call("Where is it?", answer)
            await world.judge(call, criterion="rating", score=score)
            if answer == BAD or (both and answer == GOOD):
                await world.judge(call, criterion="helpful", passed=True)
        await world.store()
        assert sides(await built(world, tmp_path, pairs("regenerated"))) == expected

    async def test_a_person_against_the_scores_makes_no_pair(self, world: World, tmp_path: Path) -> None:
        first, second = await asked_twice(world)
        await world.judge(first, criterion="rating", score=0.9)
        await world.judge(second, criterion="rating", score=0.2)
        await world.judge(second, criterion="helpful", passed=True)
        await world.store()
        version = await built(world, tmp_path, pairs("regenerated"))
        assert (version.lines, version.dropped) == ([], {"liked": 1})

    async def test_of_one_call_with_several_choices(self, world: World, tmp_path: Path) -> None:
        call = world.call("Where is it?", BAD, GOOD)
        await world.thumb(call, up=False)
        await world.thumb(call, choice_index=1)
        await world.store()
        version = await built(world, tmp_path, pairs("choices"))
        assert (sides(version), version.report.by_signal) == ([(GOOD, BAD)], {"choices": 1})

    @pytest.mark.parametrize(
        ("scores", "reason"), [((0.5, 0.5), "tie"), ((0.5, 0.6), "margin"), ((0.5,), "single_candidate")]
    )
    async def test_without_a_difference(
        self, world: World, tmp_path: Path, scores: tuple[float, ...], reason: str
    ) -> None:
        """Pitfall 12: equal ratings are not the same text as chosen and rejected."""
        for place, score in enumerate(scores):
            call = world.call("Where is it?", sentence(110 + place))
            await world.judge(call, criterion="rating", score=score)
        await world.store()
        version = await built(world, tmp_path, pairs("regenerated"))
        assert (version.lines, version.dropped) == ([], {reason: 1})

    async def test_scores_by_different_criteria_are_not_compared(self, world: World, tmp_path: Path) -> None:
        first, second = await asked_twice(world)
        await world.judge(first, criterion="rating", score=1.0)
        await world.judge(second, criterion="helpful", score=0.0)
        await world.store()
        assert (await built(world, tmp_path, pairs("regenerated"))).dropped == {"no_common_criterion": 1}

    async def test_the_same_question_in_another_conversation_is_another_prompt(
        self, world: World, tmp_path: Path
    ) -> None:
        before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}]
        first = world.call([*before, {"role": "user", "content": "Where is it?"}], GOOD)
        second = world.call("Where is it?", BAD)
        await world.judge(first, criterion="rating", score=1.0)
        await world.judge(second, criterion="rating", score=0.0)
        await world.store()
        assert (await built(world, tmp_path, pairs("regenerated"))).dropped == {"single_candidate": 2}


class TestChecks:
    """Pitfalls 11 and 12."""

    @pytest.mark.parametrize(
        ("chosen", "rejected", "reason"),
        [
            ("It is in Bern.", "it is  in BERN!", "identical"),
            (" ".join(f"word{n}" for n in range(100)), " ".join(f"word{n}" for n in range(99)), "near_identical"),
            ("It is in Bern, the capital.", "It was in Rome, the capital.", "few_differing_tokens"),
            ("I'm sorry, I cannot help.", GOOD, "refusal_chosen"),
            ("", GOOD, "empty_answer"),
            (GOOD, "", "empty_answer"),
        ],
    )
    async def test_what_makes_no_pair(
        self, world: World, tmp_path: Path, chosen: str, rejected: str, reason: str
    ) -> None:
        first, second = await asked_twice(world, chosen, rejected)
        await world.vote(first, second, "a")
        await world.store()
        version = await built(world, tmp_path, pairs("votes"))
        assert (version.lines, version.dropped) == ([], {reason: 1})

    async def test_a_refusal_may_be_rejected(self, world: World, tmp_path: Path) -> None:
        first, second = await asked_twice(world, GOOD, "I'm sorry, I cannot help.")
        await world.vote(first, second, "a")
        await world.store()
        assert (await built(world, tmp_path, pairs("votes"))).report.rows == 1


class TestLengths:
    """Pitfall 13."""

    @staticmethod
    async def ten(world: World, longer: int) -> None:
        """Ten pairs, in some of which the longer answer is chosen."""
        for number in range(10):
            long, short = sentence(200 + number, 20), sentence(300 + number, 10)
            answers = (long, short) if number < longer else (short, long)
            question = sentence(400 + number)
            first, second = world.call(question, answers[0]), world.call(question, answers[1])
            await world.vote(first, second, "a")
        await world.store()

    async def test_a_bias_to_longer_answers_is_told(self, world: World, tmp_path: Path) -> None:
        await self.ten(world, longer=8)
        report = (await built(world, tmp_path, pairs("votes"))).report
        assert report.lengths is not None
        assert report.lengths.chosen_longer == 0.8
        assert (report.lengths.chosen_longer_low, report.lengths.chosen_longer_high) == (0.4902, 0.9433)
        assert report.lengths.mean_chosen_tokens > report.lengths.mean_rejected_tokens
        assert "length_bias" in [each.code for each in report.warnings]

    async def test_no_bias_no_warning(self, world: World, tmp_path: Path) -> None:
        await self.ten(world, longer=6)
        report = (await built(world, tmp_path, pairs("votes"))).report
        assert "length_bias" not in [each.code for each in report.warnings]

    @pytest.mark.parametrize("total", [5, 8, 10])
    async def test_also_within_a_total(self, world: World, tmp_path: Path, total: int) -> None:
        await self.ten(world, longer=6)
        wanted = pairs("votes", pairs={"balance_length": True}, caps={"total": total})
        version = await built(world, tmp_path, wanted)
        assert version.report.lengths is not None
        assert version.report.lengths.chosen_longer <= 0.6
        assert len(version.lines) == total

    async def test_it_is_balanced_when_asked_for(self, world: World, tmp_path: Path) -> None:
        await self.ten(world, longer=8)
        version = await built(world, tmp_path, pairs("votes", pairs={"balance_length": True}))
        assert version.report.lengths is not None
        assert version.report.lengths.chosen_longer == 0.6
        assert version.dropped == {"length_balance": 5}
