"""What columns are taken for, and how surely."""

from typing import Any

import pytest

from gateway.datasets.columns import SURE, Table, detect, detect_messages, detect_table, layout_of

TURNS = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def of(*names: str, rows: int = 20, **more: Any) -> Table:
    """Columns of texts, and `more` of the same value in every row."""
    return Table([{name: f"some {name} {row}" for name in names} | more for row in range(rows)])


class TestPairs:
    @pytest.mark.parametrize(
        ("user", "assistant"),
        [
            ("instruction", "response"), ("question", "answer"), ("prompt", "completion"),
            ("user_message", "assistant_message"), ("text_input", "text_output"), ("input", "output"),
            ("Question", "ANSWER"), ("User Message", "assistant-message"), ("Text.Input", "text output"),
        ],
    )  # fmt: skip
    def test_known_pairs_are_sure(self, user: str, assistant: str) -> None:
        found = detect(of("id", assistant, user))
        assert (found.layout, found.mapping) == ("table", {"user": user, "assistant": assistant})
        assert found.confidence >= 95

    def test_known_names_of_different_pairs(self) -> None:
        found = detect(of("human", "output"))
        assert found.mapping == {"user": "human", "assistant": "output"}
        assert SURE <= found.confidence < 95

    def test_names_that_contain_known_ones(self) -> None:
        found = detect(of("customer_question", "agent_answer", "date"))
        assert found.mapping == {"user": "customer_question", "assistant": "agent_answer"}
        assert SURE <= found.confidence < 80

    def test_only_two_columns_are_not_sure(self) -> None:
        found = detect(of("a", "b"))
        assert found.mapping == {"user": "a", "assistant": "b"}
        assert 0 < found.confidence < SURE

    def test_unknown_columns(self) -> None:
        found = detect(of("a", "b", "c"))
        assert (found.layout, found.mapping, found.confidence) == ("unknown", {}, 0)
        assert detect(Table([])).confidence == 0

    def test_empty_cells_make_it_unsure(self) -> None:
        full, empty = {"question": "a b", "answer": "c d"}, {"question": "a b", "answer": " "}
        assert detect(Table([full] * 9 + [empty])).confidence >= SURE
        assert detect(Table([full] * 4 + [empty] * 6)).confidence < SURE

    def test_system_and_context(self) -> None:
        found = detect(of("System Prompt", "context", "question", "answer"))
        assert found.mapping == {
            "system": "System Prompt", "context": "context", "user": "question", "assistant": "answer",
        }  # fmt: skip

    def test_alpaca(self) -> None:
        found = detect(
            Table(
                [
                    {"instruction": "Add these.", "input": "" if row % 2 else "1 2", "output": "It is 3."}
                    for row in range(9)
                ]
            )
        )
        assert (found.layout, found.confidence) == ("alpaca", 99)
        assert found.mapping == {"user": "instruction", "context": "input", "assistant": "output"}


class TestConversations:
    @pytest.mark.parametrize("value", [TURNS, MESSAGES, '[{"from": "human", "value": "hi"}]'])
    @pytest.mark.parametrize("name", ["conversations", "Conversation", "dialogue", "anything"])
    def test_sharegpt_in_any_column(self, name: str, value: Any) -> None:
        found = detect(of("id", tools="[]", **{name: value}))
        assert (found.layout, found.mapping) == ("sharegpt", {"messages": name, "tools": "tools"})
        assert found.confidence >= 85

    def test_two_such_columns_are_not_sure(self) -> None:
        assert detect(Table([{"a": TURNS, "b": TURNS}] * 5)).confidence < SURE

    def test_openais_own(self) -> None:
        assert detect(Table([{"messages": MESSAGES, "source": "x"}] * 3)).layout == "openai-chat"
        pair = {
            "input": {"messages": MESSAGES[:1]},
            "preferred_completion": MESSAGES[1:],
            "non_preferred_completion": MESSAGES[1:],
        }
        assert detect(Table([pair] * 3)).layout == "openai-preference"

    def test_preferences(self) -> None:
        chosen = {"chosen": TURNS[1], "rejected": TURNS[1]}
        assert detect(Table([{"conversations": TURNS, **chosen}])).layout == "sharegpt-preference"
        table = detect(of("prompt", "chosen", "rejected"))
        assert (table.layout, table.mapping) == (
            "preference-table", {"preferred": "chosen", "non_preferred": "rejected", "user": "prompt"},
        )  # fmt: skip
        whole = detect(Table([{"chosen": MESSAGES, "rejected": MESSAGES}]))
        assert (whole.layout, whole.confidence >= SURE) == ("preference-table", True)
        assert detect(of("chosen", "rejected")).confidence < SURE


class TestOverride:
    def test_restricts_what_is_looked_for(self) -> None:
        table = of("question", "answer", conversations=TURNS)
        assert detect(table).layout == "sharegpt"
        assert detect_table(table).layout == "table"
        assert detect_messages(of("question", "answer")).layout == "unknown"

    @pytest.mark.parametrize(
        ("mapping", "layout"),
        [
            ({"user": "a", "assistant": "b"}, "table"),
            ({"user": "a", "assistant": "b", "system": "c", "context": "d"}, "table"),
            ({"messages": "a"}, "sharegpt"),
            ({"user": "a", "preferred": "b", "non_preferred": "c"}, "preference-table"),
            ({"messages": "a", "preferred": "b", "non_preferred": "c"}, "sharegpt-preference"),
            ({"user": "a"}, None), ({"preferred": "a", "non_preferred": "b"}, None), ({"system": "a"}, None),
        ],
    )  # fmt: skip
    def test_mapping_says_what_it_is(self, mapping: Any, layout: str | None) -> None:
        assert layout_of(mapping) == layout


class TestColumns:
    def test_show_samples_and_gaps(self) -> None:
        [first, second] = Table([{"a": "x" * 500, "b": None}, {"a": 3, "b": "y"}, {"a": [1], "b": ""}]).columns()
        assert (first.name, first.empty, len(first.samples[0]), first.samples[1:]) == ("a", 0.0, 120, ["3", "[1]"])
        assert (second.samples, second.empty) == (["y"], 0.6667)
