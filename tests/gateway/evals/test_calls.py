from typing import Any

import pytest

from gateway.evals.calls import CannotAsk, body, problems, seed_of
from gateway.protocol.evals import CompletionsSource, FileId, ItemReference, Sampling, Template

ITEM = {"q": "Why?", "n": 7, "pic": "https://x/y.png", "turns": [{"role": "user", "content": "Hi"}]}


def source(messages: Any, **params: Any) -> CompletionsSource:
    return CompletionsSource(
        model="m",
        source=FileId(id="f"),
        input_messages=messages,
        sampling_params=Sampling(**params) if params else None,
    )


def template(*messages: dict[str, Any]) -> CompletionsSource:
    return source(Template(template=list(messages)))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def asked(of: CompletionsSource, item: Any = ITEM, repeat: int = 0) -> dict[str, Any]:
    return body(of, item, repeat, log_probabilities=False)


class TestTemplates:
    def test_are_filled_from_the_item(self) -> None:
        found = asked(template({"role": "developer", "content": "Be short."}, user("{{ item.q }} {{item.n}}")))
        assert found["messages"] == [{"role": "developer", "content": "Be short."}, user("Why? 7")]

    def test_parts_of_text_become_one(self) -> None:
        parts = ["a", {"type": "input_text", "text": "{{ item.q }}"}]
        assert asked(template(user(parts)))["messages"] == [user("a\n\nWhy?")]

    def test_pictures_and_sound_stay_parts(self) -> None:
        sound = {"data": "AAAA", "format": "wav"}
        parts = [
            {"type": "input_text", "text": "See"},
            {"type": "input_image", "image_url": "{{ item.pic }}", "detail": "low"},
            {"type": "input_audio", "input_audio": sound},
        ]
        assert asked(template(user(parts)))["messages"][0]["content"] == [
            {"type": "text", "text": "See"},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            {"type": "input_audio", "input_audio": sound},
        ]

    def test_braces_in_the_data_are_data(self) -> None:
        found = asked(template(user("{{ item.q }}")), {"q": "{{ item.secret }}", "secret": "x"})
        assert found["messages"] == [user("{{ item.secret }}")]

    def test_a_variable_that_is_not_there(self) -> None:
        with pytest.raises(CannotAsk, match=r"there is no item\.x"):
            asked(template(user("{{ item.x }}")))


class TestReferences:
    def test_hand_the_messages_on(self) -> None:
        assert asked(source(ItemReference(item_reference="item.turns")))["messages"] == ITEM["turns"]

    def test_tools_of_a_trajectory_are_kept(self) -> None:
        call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}
        turns = [call, {"role": "tool", "tool_call_id": "c", "content": "42"}]
        assert asked(source(ItemReference(item_reference="item.t")), {"t": turns})["messages"] == turns

    @pytest.mark.parametrize("value", ["Hi", [], [{"content": "x"}], [1], {"role": "user"}])
    def test_what_is_no_list_of_messages(self, value: Any) -> None:
        with pytest.raises(CannotAsk, match="not a list of messages"):
            asked(source(ItemReference(item_reference="item.t")), {"t": value})


class TestSeed:
    def test_is_openais_and_another_for_each_repeat(self) -> None:
        assert [asked(template(user("x")), repeat=n)["seed"] for n in range(3)] == [42, 43, 44]
        assert seed_of(source(None, seed=7), 2) == 9


class TestParameters:
    def test_only_those_that_were_given(self) -> None:
        assert set(asked(template(user("x")))) == {"model", "messages", "seed"}
        found = asked(source(Template(template=[user("x")]), temperature=0.0, reasoning_effort="low"))
        assert (found["temperature"], found["reasoning_effort"]) == (0.0, "low")


class TestProblems:
    @pytest.mark.parametrize(
        ("message", "path"),
        [
            ({"role": "boss", "content": "x"}, ".role"),
            ({"role": "user"}, ".content"),
            (user(7), ".content"),
            (user(["x", {"type": "video"}]), ".content[1]"),
            (user("{{ itm.x }}"), ".content"),
            (user("{{ sample.output_text }}"), ".content"),
            (user([{"type": "input_image", "image_url": "{{ x }}"}]), ".content[0]"),
        ],
    )
    def test_are_told_where_they_are(self, message: Any, path: str) -> None:
        found = problems(template(user("fine"), message))
        assert [each[0] for each in found] == [f"input_messages.template[1]{path}"]

    @pytest.mark.parametrize("path", ["item.turns", "item.a.b", " item.turns ", "item.list[0].turns"])
    def test_paths_of_the_item_are_fine(self, path: str) -> None:
        assert problems(source(ItemReference(item_reference=path))) == []

    @pytest.mark.parametrize("path", ["turns", "item", "sample.x", "item.{{x}}", ""])
    def test_others_are_not(self, path: str) -> None:
        assert problems(source(ItemReference(item_reference=path)))
