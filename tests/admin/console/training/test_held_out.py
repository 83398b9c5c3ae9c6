"""Validation files as items of an eval."""

import msgspec

from admin.console.training.held_out import MOST, items

CHAT = b'{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'
PAIR = (
    b'{"input": {"messages": [{"role": "user", "content": "q"}]}, "preferred_output": [{"role": "assistant", "content": "good"}],'
    b' "non_preferred_output": [{"role": "assistant", "content": "bad"}]}'
)
TOOLS = b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": []}]}'


def test_the_last_answer_is_held_out() -> None:
    [item] = items(CHAT, whole=True)
    assert item["item"]["expected"] == "a"
    assert [each["role"] for each in item["item"]["input"]] == ["system", "user"]


def test_of_a_pair_the_better_one() -> None:
    [item] = items(PAIR, whole=True)
    assert item["item"]["expected"] == "good"


def test_what_has_no_answer_in_words_is_passed_over() -> None:
    assert items(b"\n".join([TOOLS, b"no json", b"[]", CHAT]), whole=True) == items(CHAT, whole=True)


def test_a_torn_line_is_left_out() -> None:
    assert items(CHAT + b"\n" + CHAT, whole=False) == items(CHAT, whole=True)
    assert len(items(CHAT + b"\n" + CHAT, whole=True)) == 2


def test_no_more_than_can_be_answered_in_minutes() -> None:
    assert len(items(b"\n".join([CHAT] * (MOST + 50)), whole=True)) == MOST
    assert msgspec.json.encode(items(CHAT, whole=True))
