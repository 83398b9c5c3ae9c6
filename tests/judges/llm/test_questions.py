"""What a judge is told."""

import json
from typing import Any

from judges.llm.questions import Brief, Example, about_one, about_two
from judges.subject import Subject
from tests.judges.llm.asking import BETTER, HELPFUL, subject


def material(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return json.loads(messages[1]["content"].split("\n")[1])


class TestAboutOne:
    def test_shows_conversation_answer_and_reference(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        asked_of = Subject(
            messages=[{"role": "user", "content": [{"type": "text", "text": "what?"}, {"type": "image_url"}]}],
            answer={"role": "assistant", "content": None, "tool_calls": [call]},
        )
        shown = material(about_one(Brief(criterion=HELPFUL), "judge", asked_of, "the truth").question.messages)
        assert shown == {
            "conversation": [{"role": "user", "content": "what?"}],
            "answer": {"role": "assistant", "content": "", "tool_calls": [call]},
            "reference": "the truth",
        }

    def test_without_a_reference_none_is_named(self) -> None:
        assert "reference" not in material(about_one(Brief(criterion=HELPFUL), "j", subject("x")).question.messages)

    def test_tells_instructions_and_examples_without_a_key(self) -> None:
        example = Example(question="q", answer="a {brace}", result=1, reason="wrong")
        brief = Brief(criterion=HELPFUL, instructions="Be {strict}.", examples=[example], sampling={"temperature": 0})
        asked = about_one(brief, "judge", subject("x"))
        system = asked.question.messages[0]["content"]
        assert "Be {strict}." in system
        assert '"answer":"a {brace}"' in system
        assert system.count(asked.key) == 1
        assert asked.question.sampling == {"temperature": 0}


def test_a_comparison_shows_the_answers_in_its_order() -> None:
    for order, expected in (("ab", ("one", "two")), ("ba", ("two", "one"))):
        asked = about_two(Brief(criterion=BETTER), "judge", subject("one"), subject("two"), order)  # type: ignore[arg-type]
        shown = material(asked.question.messages)
        assert (shown["first_answer"]["content"], shown["second_answer"]["content"]) == expected
        assert shown["conversation"] == [{"role": "user", "content": "hello"}]
