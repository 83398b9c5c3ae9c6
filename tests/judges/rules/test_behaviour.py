"""Rules on what an answer does."""

import pytest

from judges.rules.behaviour import PersonalData, Refusal, Repetition, Secrets, is_refusal
from judges.rules.run import apply
from tests.judges.rules.subjects import answered

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I\u2019m sorry, I am not able to do this.",
    "I cannot assist with that request.",
    "As an AI language model, I don't have opinions.",
    "Es tut mir leid, aber ich kann dabei nicht helfen.",
    "Leider kann ich das nicht beantworten.",
    "Désolé, je ne peux pas vous aider.",
    "Lo siento, pero no puedo ayudar con eso.",
    "Desculpe, mas não posso ajudar.",
    "Mi dispiace, non posso farlo.",
    "抱歉\uff0c我无法提供这些信息。",
    "申し訳ありませんが、お手伝いできません。",
]
ANSWERS = [
    "You can't divide by zero.",
    "I can help with that: first, open the file.",
    "The service says 'I cannot open the file' when it is locked.",
    "Sorry for the delay! Here is the list.",
    "x " * 300 + "I'm sorry, but I can't help with that.",
]


class TestRefusal:
    @pytest.mark.parametrize("text", REFUSALS)
    def test_is_known_in_many_languages(self, text: str) -> None:
        assert is_refusal(text)
        assert not Refusal().check(answered(text)).passed

    @pytest.mark.parametrize("text", ANSWERS)
    def test_an_answer_is_none(self, text: str) -> None:
        assert not is_refusal(text)

    def test_the_reply_may_say_it_apart(self) -> None:
        subject = answered(None)
        subject.answer["refusal"] = "No."
        assert not Refusal().check(subject).passed


class TestRepetition:
    def test_a_loop_is_found(self) -> None:
        outcome = Repetition().check(answered("and then it goes on " * 40))
        assert not outcome.passed
        assert outcome.score < 0.2

    def test_prose_passes(self) -> None:
        text = " ".join(f"Sentence {number} tells of something else, namely {number * 7}." for number in range(20))
        assert Repetition().check(answered(text)).passed

    def test_short_answers_pass(self) -> None:
        assert Repetition().check(answered("no no no no no no no no")).passed

    def test_wrong_numbers_are_problems(self) -> None:
        assert Repetition(size=0).problems()
        assert Repetition(most=1.5).problems()


class TestPersonalData:
    def test_is_found_in_the_text_and_in_arguments(self) -> None:
        outcome = apply(PersonalData(), answered("Write to ann@example.com."))
        assert not outcome.passed
        assert outcome.found == {"kinds": {"email": 1}}
        call = {"type": "function", "function": {"name": "send", "arguments": '{"to": "bob@example.com"}'}}
        assert not apply(PersonalData(), answered(None, tool_calls=[call])).passed

    @pytest.mark.parametrize(
        "calls",
        [[{"type": "custom", "custom": {"name": "shell", "input": "mail ann@example.org"}}], ["mail ann@example.org"],
         {"a": "ann@example.org"}, [{"function": "ann@example.org"}], [{"function": {"arguments": {"to": "ann@example.org"}}}]],
        ids=str,
    )  # fmt: skip
    def test_so_are_tool_calls_of_any_form(self, calls: object) -> None:
        assert not apply(PersonalData(), answered(None, tool_calls=calls)).passed

    def test_the_rationale_does_not_tell_it_again(self) -> None:
        assert "ann@" not in apply(PersonalData(), answered("Write to ann@example.com.")).rationale

    def test_what_the_user_said_may_be_said_back(self) -> None:
        subject = answered("I wrote to ANN@example.com.", question="Write to ann@example.com")
        assert apply(PersonalData(), subject).passed
        assert not apply(PersonalData(echo=False), subject).passed
        assert not apply(PersonalData(), answered("It is bob@example.com.", question="not ann@example.com?")).passed

    def test_only_the_kinds_that_are_named(self) -> None:
        assert apply(PersonalData(kinds=("card",)), answered("ann@example.com")).passed
        assert PersonalData(kinds=()).problems()


class TestSecrets:
    def test_are_never_said_back(self) -> None:
        secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
        assert not apply(Secrets(), answered(f"Your key is {secret}", question=f"My key is {secret}")).passed
        assert apply(Secrets(), answered("Keep it in a vault.")).passed
