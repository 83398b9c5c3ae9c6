"""Which answers become rows."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.datasets.building import messages
from gateway.datasets.building.ancestry import Ancestry
from gateway.datasets.building.reading import Log, Snapshot
from gateway.datasets.building.selection import Ground, select_answers
from gateway.datasets.building.tally import Tally
from gateway.datasets.building.workplace import Workplace
from gateway.exchanges.subjects import subject
from gateway.protocol.recipes import Exchanges
from tests.gateway.datasets.building.world import BEGIN, SNAPSHOT, World, built, recipe, sentence

pytestmark = pytest.mark.anyio


async def one_judged(world: World, *verdicts: dict[str, Any]) -> str:
    """A call with the given judgments, stored; its id."""
    call = world.call(sentence(1), "The answer.")
    for verdict in verdicts:
        await world.judge(call, **verdict)
    await world.store()
    return call


RULE = {"source": "rule", "judge_version_id": None, "criterion": "accurate", "passed": True, "score": 1.0}
LLM = {"source": "llm", "criterion": "helpful", "passed": True, "score": 0.9}


class TestPositiveSignal:
    """Pitfall 14: nothing is learnt that nobody said is good."""

    async def test_unjudged_answers_are_left_out(self, world: World, tmp_path: Path) -> None:
        liked = world.call(sentence(1), "The liked answer.")
        world.call(sentence(2), "Nobody said anything.")
        await world.thumb(liked)
        await world.store()
        version = await built(world, tmp_path, recipe())
        assert version.answers == ["The liked answer."]
        assert version.dropped == {"unjudged": 1}
        assert version.report.dropped[0].examples == [{"exchange_id": world.exchanges[1]["id"]}]
        assert version.report.by_signal == {"human": 1}
        assert version.report.considered == 2

    async def test_unjudged_answers_are_taken_when_asked_for(self, world: World, tmp_path: Path) -> None:
        await one_judged(world)
        version = await built(world, tmp_path, recipe(positive={"unjudged": True}))
        assert version.report.by_signal == {"unjudged": 1}

    async def test_a_rule_alone_is_no_signal(self, world: World, tmp_path: Path) -> None:
        await one_judged(world, RULE)
        assert (await built(world, tmp_path, recipe())).dropped == {"no_positive_signal": 1}

    async def test_a_judge_alone_is_no_signal(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        await one_judged(world, LLM | {"judge_version_id": judge})
        assert (await built(world, tmp_path, recipe(), trusted=[judge])).dropped == {"no_positive_signal": 1}

    async def test_a_rule_and_a_trusted_judge_are(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        await one_judged(world, RULE, LLM | {"judge_version_id": judge})
        version = await built(world, tmp_path, recipe(), trusted=[judge])
        assert version.report.by_signal == {"checked": 1}

    async def test_a_judge_that_is_not_trusted_does_not_count(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        await one_judged(world, RULE, LLM | {"judge_version_id": judge})
        assert (await built(world, tmp_path, recipe())).dropped == {"untrusted_judge": 1}
        allowed = await built(world, tmp_path, recipe(positive={"allow_untrusted": True}))
        assert allowed.report.by_signal == {"checked": 1}

    @pytest.mark.parametrize("failed", ["rule", "llm"])
    async def test_one_that_fails_outweighs_those_that_pass(self, world: World, tmp_path: Path, failed: str) -> None:
        judge = await world.judge_version()
        fails: dict[str, Any] = {"source": failed, "criterion": "clear", "passed": False, "score": 0.1}
        fails |= {"judge_version_id": judge if failed == "llm" else None}
        await one_judged(world, RULE, LLM | {"judge_version_id": judge}, fails)
        assert (await built(world, tmp_path, recipe(), trusted=[judge])).dropped == {"no_positive_signal": 1}

    async def test_a_persons_no_is_a_veto(self, world: World, tmp_path: Path) -> None:
        judge = await world.judge_version()
        dislikes = {"passed": False, "score": 0.0}
        await one_judged(world, RULE, LLM | {"judge_version_id": judge}, {"passed": True, "score": 1.0}, dislikes)
        assert (await built(world, tmp_path, recipe(), trusted=[judge])).dropped == {"vetoed": 1}

    async def test_a_verdict_of_an_eval_run_or_an_error_is_none(self, world: World, tmp_path: Path) -> None:
        await one_judged(
            world,
            {"passed": True, "score": 1.0, "eval_run_id": "evalrun_1"},
            {"passed": True, "status": "error"},
        )
        assert (await built(world, tmp_path, recipe())).dropped == {"unjudged": 1}

    async def test_parts_of_a_verdict_are_none_of_their_own(self, world: World, tmp_path: Path) -> None:
        """One member of a panel said no; the panel said yes."""
        judge = await world.judge_version()
        call = world.call(sentence(1), "The answer.")
        llm = LLM | {"judge_version_id": judge}
        yes = await world.judge(call, **llm)
        no = await world.judge(call, **llm | {"passed": False, "score": 0.1})
        await world.judge(call, **llm, derived_from=[yes, no])
        await world.judge(call, **RULE)
        await world.store()
        version = await built(world, tmp_path, recipe(), trusted=[judge])
        assert version.report.by_signal == {"checked": 1}


class TestEdits:
    async def test_what_a_person_wrote_is_learnt_instead(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "It is on Munday.")
        await world.thumb(call, up=False)
        await world.edit(call, "It is on Monday, at nine in the morning.")
        await world.store()
        version = await built(world, tmp_path, recipe())
        assert version.answers == ["It is on Monday, at nine in the morning."]
        [origin] = version.report.origins
        assert (origin.model, origin.depth) == (None, 0)

    async def test_the_last_of_several_counts(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "First.")
        await world.edit(call, "Second.")
        await world.edit(call, "Third.")
        await world.store()
        assert (await built(world, tmp_path, recipe())).answers == ["Third."]

    async def test_an_edit_keeps_its_calls_of_tools(self, world: World, tmp_path: Path) -> None:
        tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
        call = world.call(sentence(1), "I do not know.", request={"tools": [tool]})
        made = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
        message = {"role": "assistant", "content": None, "tool_calls": [made], "refusal": None, "annotations": []}
        await world.judge(call, criterion="correction", edited_message=message)
        await world.store()
        [line] = (await built(world, tmp_path, recipe())).lines
        assert line["messages"][-1] == {"role": "assistant", "tool_calls": [made]}
        assert line["tools"] == [tool]


class TestSnapshot:
    async def test_later_words_do_not_count(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "The answer.")
        await world.thumb(call)
        await world.thumb(call, up=False, created_at=SNAPSHOT + timedelta(seconds=1))
        await world.store()
        assert (await built(world, tmp_path, recipe())).report.by_signal == {"human": 1}
        later = await built(world, tmp_path, recipe(), at=SNAPSHOT + timedelta(hours=1))
        assert later.dropped == {"vetoed": 1}

    async def test_a_word_that_was_taken_back_later_still_held(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "The answer.")
        await world.thumb(call, superseded_at=SNAPSHOT + timedelta(seconds=1))
        await world.store()
        assert (await built(world, tmp_path, recipe())).report.by_signal == {"human": 1}
        later = await built(world, tmp_path, recipe(), at=SNAPSHOT + timedelta(hours=1))
        assert later.dropped == {"unjudged": 1}

    async def test_a_call_that_ended_later_is_none(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "The answer.", created_at=SNAPSHOT - timedelta(seconds=10), duration_ms=11_000.0)
        await world.thumb(call)
        await world.store()
        assert (await built(world, tmp_path, recipe())).report.considered == 0
        later = await built(world, tmp_path, recipe(), at=SNAPSHOT + timedelta(seconds=1))
        assert later.report.considered == 1


class TestNeverTaken:
    @pytest.mark.parametrize(
        "fields",
        [
            {"purpose": "judge"},
            {"purpose": "eval"},
            {"outcome": "client_left"},
            {"logging": "metadata", "request": {}, "reply": b""},
            {"project_id": "proj_2"},
        ],
    )
    async def test_whatever_is_said_of_it(self, world: World, tmp_path: Path, fields: dict[str, Any]) -> None:
        call = world.call(sentence(1), "The answer.", **fields)
        await world.thumb(call)
        await world.store()
        assert (await built(world, tmp_path, recipe(positive={"unjudged": True}))).report.considered == 0

    async def test_deleted(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "The answer.")
        await world.thumb(call)
        await world.store()
        await world.delete(call)
        assert (await built(world, tmp_path, recipe())).report.considered == 0

    @pytest.mark.parametrize(
        ("answer", "more", "reason"),
        [
            ("  ", {}, "empty_answer"),
            ("It is", {"finish_reason": "length"}, "cut_off"),
            ({"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}, {}, "not_text"),
        ],
    )
    async def test_without_a_text_to_learn(
        self, world: World, tmp_path: Path, answer: Any, more: dict[str, Any], reason: str
    ) -> None:
        call = world.call(sentence(1), answer, **more)
        await world.thumb(call)
        await world.store()
        assert (await built(world, tmp_path, recipe())).dropped == {reason: 1}


class TestFilters:
    @pytest.mark.parametrize(
        ("exchanges", "expected"),
        [
            ({"models": ["other"]}, ["Second."]),
            ({"routes": ["support"]}, ["Third."]),
            ({"metadata": {"team": "blue"}}, ["Third."]),
            ({"excluded_users": ["hash:ann"]}, ["First.", "Third."]),
            ({"excluded": ["the second"]}, ["First.", "Third."]),
            ({"created_after": int(BEGIN.timestamp()) + 1}, ["Second.", "Third."]),
            ({"created_before": int(BEGIN.timestamp()) + 1}, ["First."]),
        ],
    )
    async def test_take_what_they_say(
        self, world: World, tmp_path: Path, exchanges: dict[str, Any], expected: list[str]
    ) -> None:
        world.call(sentence(1), "First.")
        world.call(sentence(2), "Second.", served_model="other", end_user="ann")
        world.call(sentence(3), "Third.", route="support", request_metadata={"team": "blue", "x": "y"}, end_user="bob")
        for row in world.exchanges:
            await world.thumb(row["id"])
        await world.store()
        if "excluded" in exchanges:
            exchanges = {"excluded": [world.exchanges[1]["id"]]}
        version = await built(world, tmp_path, recipe(sources={"exchanges": exchanges}))
        assert version.answers == expected


class TestConditions:
    async def test_a_score_of_enough_judges(self, world: World, tmp_path: Path) -> None:
        for answer, scores in (("Low.", (0.5, 0.6)), ("One.", (0.9,)), ("High.", (0.9, 0.8))):
            call = world.call(sentence(len(answer)), answer)
            for score in scores:
                await world.judge(call, criterion="rating", passed=True, score=score)
        await world.store()
        condition = {"criterion": "rating", "source": "human", "min_score": 0.75, "min_judges": 2}
        version = await built(world, tmp_path, recipe(criteria=[condition]))
        assert version.answers == ["High."]
        assert version.dropped == {"condition_not_met": 2}

    async def test_repeats_of_one_judge_are_one(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "The answer.")
        for _ in range(2):
            await world.judge(call, criterion="rating", passed=True, score=0.9, annotator_id="ann")
        await world.store()
        condition = {"criterion": "rating", "min_score": 0.75, "min_judges": 2}
        assert (await built(world, tmp_path, recipe(criteria=[condition]))).dropped == {"condition_not_met": 1}

    async def test_users_of_one_product_are_judges_of_their_own(self, world: World, tmp_path: Path) -> None:
        """They all speak through its key."""
        for number, users in enumerate((["ann", "bob"], ["ann", "ann"])):
            call = world.call(sentence(number), f"Answer {number}.")
            for user in users:
                await world.judge(call, criterion="rating", passed=True, score=0.9, annotator_id="key", end_user=user)
        await world.store()
        condition = {"criterion": "rating", "min_score": 0.75, "min_judges": 2}
        version = await built(world, tmp_path, recipe(criteria=[condition]))
        assert (version.answers, version.dropped) == (["Answer 0."], {"condition_not_met": 1})

    async def test_agreement(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "The answer.")
        for score in (0.9, 0.9, 0.5):
            await world.judge(call, criterion="rating", passed=True, score=score)
        await world.store()
        wanted = {"criterion": "rating", "min_score": 0.75}
        assert (await built(world, tmp_path, recipe(criteria=[wanted]))).dropped == {"condition_not_met": 1}
        assert (await built(world, tmp_path, recipe(criteria=[wanted | {"agreement": 0.6}]))).report.rows == 1

    async def test_a_criterion_that_nobody_has_is_met_by_nothing(self, world: World, tmp_path: Path) -> None:
        await one_judged(world, {"passed": True, "score": 1.0})
        version = await built(world, tmp_path, recipe(criteria=[{"criterion": "nowhere", "passed": True}]))
        assert version.dropped == {"condition_not_met": 1}


class TestTurns:
    @staticmethod
    def conversation(world: World, *said: tuple[str, str]) -> list[str]:
        """A call for each turn, with all that was said before; their ids."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
        calls: list[str] = []
        for question, answer in said:
            messages = [*messages, {"role": "user", "content": question}]
            calls.append(world.call(messages, answer))
            messages = [*messages, {"role": "assistant", "content": answer}]
        return calls

    async def test_of_each_call_its_answer_is_learnt(self, world: World, tmp_path: Path) -> None:
        for call in self.conversation(world, (sentence(1), "One."), (sentence(2), "Two.")):
            await world.thumb(call)
        await world.store()
        first, second = (await built(world, tmp_path, recipe())).lines
        assert [message.get("weight") for message in first["messages"]] == [None, None, None]
        assert [message.get("weight") for message in second["messages"]] == [None, None, 0, None, None]

    async def test_every_turn_of_the_longest_call(self, world: World, tmp_path: Path) -> None:
        for call in self.conversation(world, (sentence(1), "One."), (sentence(2), "Two.")):
            await world.thumb(call)
        await world.store()
        version = await built(world, tmp_path, recipe(turns={"learn": "every"}))
        [line] = version.lines
        assert [message.get("weight") for message in line["messages"]] == [None] * 5
        assert version.dropped == {"part_of_longer": 1}

    async def test_but_not_a_turn_that_somebody_disliked(self, world: World, tmp_path: Path) -> None:
        first, second = self.conversation(world, (sentence(1), "One."), (sentence(2), "Two."))
        await world.thumb(first, up=False)
        await world.thumb(second)
        await world.store()
        [line] = (await built(world, tmp_path, recipe(turns={"learn": "every"}))).lines
        assert [message.get("weight") for message in line["messages"]] == [None, None, 0, None, None]

    async def test_nor_one_that_somebody_wrote_anew(self, world: World, tmp_path: Path) -> None:
        first, second = self.conversation(world, (sentence(1), "One."), (sentence(2), "Two."))
        await world.edit(first, "Better.")
        await world.thumb(second)
        await world.store()
        lines = (await built(world, tmp_path, recipe(turns={"learn": "every"}))).lines
        assert [line["messages"][2].get("weight") for line in lines] == [None, 0]
        assert lines[0]["messages"][2]["content"] == "Better."

    async def test_nor_one_that_somebody_disliked_in_a_call_that_is_left_out(
        self, world: World, tmp_path: Path
    ) -> None:
        first, second = self.conversation(world, (sentence(1), "One."), (sentence(2), "Two."))
        world.exchanges[0]["request_metadata"] = {"team": "b"}
        world.exchanges[1]["request_metadata"] = {"team": "a"}
        await world.thumb(first, up=False)
        await world.thumb(second)
        await world.store()
        wanted = recipe(turns={"learn": "every"}, sources={"exchanges": {"metadata": {"team": "a"}}})
        version = await built(world, tmp_path, wanted)
        assert [message.get("weight") for message in version.lines[0]["messages"]] == [None, None, 0, None, None]
        assert version.dropped == {}

    async def test_of_a_conversation_each_message_is_read_once(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many answers are in it."""
        said = [(sentence(seed), "Yes.") for seed in range(1, 101)]
        call = self.conversation(world, *said)[-1]
        world.exchanges = world.exchanges[-1:]
        await world.thumb(call)
        await world.store()
        encoded: list[int] = []
        encode = messages._encode

        def counting(value: Any) -> bytes:
            encoded.append(len(value) if isinstance(value, list) else 1)
            return encode(value)

        monkeypatch.setattr(messages, "_encode", counting)
        [line] = (await built(world, tmp_path, recipe(turns={"learn": "every"}))).lines
        assert len(line["messages"]) == 201
        assert sum(encoded) < 3 * 201

    def test_the_key_of_every_beginning(self) -> None:
        values = [{"b": 1, "a": "ü"}, [], {"c": None}]
        expected = [messages.key_of(values[:count]) for count in (1, 2, 3)]
        assert list(messages.keys_so_far(values)) == expected
        assert list(messages.keys_so_far([])) == []

    async def test_one_batch_ends_soon_when_nobody_wants_it(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), sentence(2))
        await world.thumb(call)
        await world.store()
        reads: list[int] = []

        def stops(*arguments: Any) -> Any:
            reads.append(1)
            return subject(*arguments)

        work = Workplace(tmp_path, "dsver_1")
        log = Log(world.database, Snapshot(world.project_id, SNAPSHOT), Exchanges())
        ground = Ground(log, recipe(), work, Tally(), Ancestry(world.database), stops)
        ground.stop.set()
        await select_answers(ground, lambda _: None)
        assert (reads, work.count()) == ([], 0)
        work.close()

    async def test_conversations_that_are_too_long(self, world: World, tmp_path: Path) -> None:
        for call in self.conversation(world, (sentence(1), "One."), (sentence(2), "Two.")):
            await world.thumb(call)
        await world.store()
        version = await built(world, tmp_path, recipe(turns={"max_turns": 1}))
        assert (version.answers, version.dropped) == (["One."], {"too_many_turns": 1})

    @pytest.mark.parametrize(
        ("system", "expected"),
        [
            ({"prompt": "keep"}, ["Be brief."]),
            ({"prompt": "drop"}, []),
            ({"prompt": "replace", "text": "Be kind."}, ["Be kind."]),
        ],
    )
    async def test_the_system_prompt(
        self, world: World, tmp_path: Path, system: dict[str, str], expected: list[str]
    ) -> None:
        [call] = self.conversation(world, (sentence(1), "One."))
        await world.thumb(call)
        await world.store()
        [line] = (await built(world, tmp_path, recipe(system=system))).lines
        assert [each["content"] for each in line["messages"] if each["role"] == "system"] == expected


class TestChoices:
    async def test_each_is_judged_by_itself(self, world: World, tmp_path: Path) -> None:
        call = world.call(sentence(1), "The first.", "The second.")
        await world.thumb(call, up=False)
        await world.thumb(call, choice_index=1)
        await world.store()
        version = await built(world, tmp_path, recipe())
        assert (version.answers, version.dropped) == (["The second."], {"vetoed": 1})
