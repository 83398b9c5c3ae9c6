"""From a source to a training file."""

import csv
import io
import json
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.datasets.importing import import_file
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.unusable import Unusable
from gateway.datasets.validation import validate_path
from gateway.protocol.datasets import Import, ImportOptions
from tests.gateway.datasets.files import chat, pair, spelt

HUMAN, GPT = {"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "Here."}


class Bench:
    """Imports from rows, and what was written."""

    def __init__(self, directory: Path) -> None:
        self.source, self.training, self.validation = (
            directory / name for name in ("source", "training", "validation")
        )

    def of(self, content: bytes | list[Any], **options: Any) -> Import:
        self.source.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        outputs = (self.training, self.validation) if options.get("store") else (None, None)
        return import_file(self.source, ImportOptions(**options), counter=TokenCounter(None), outputs=outputs)

    def first(self, *rows: Any, **options: Any) -> dict[str, Any]:
        """The first converted example of JSON rows."""
        found = self.of(list(rows), **options)
        assert found.skipped.count == 0, found.skipped
        return found.examples[0].example

    def skipped(self, *rows: Any, **options: Any) -> list[str]:
        return [row.reason for row in self.of(list(rows), **options).skipped.rows]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def table_of(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def said(example: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in example["messages"]]


class TestTexts:
    def test_table(self, bench: Bench) -> None:
        found = bench.of(table_of([{"question": "Where?", "answer": "Here."}] * 3))
        assert (found.layout, found.format, found.mapping_required) == ("table", "chat", False)
        assert said(found.examples[0].example) == [("user", "Where?"), ("assistant", "Here.")]
        assert (found.source.rows, found.training_examples, found.file) == (3, 3, None)
        assert found.message == "3 of 3 rows were converted. Nothing was stored; send store=true for that."

    @pytest.mark.parametrize("indent", [None, 2])
    def test_a_single_example_with_tools_is_one(self, bench: Bench, indent: int | None) -> None:
        row = chat() | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}
        found = bench.of(json.dumps(row, indent=indent).encode())
        assert (found.layout, found.training_examples) == ("openai-chat", 1)
        assert found.examples[0].example == row

    def test_alpaca_joins_its_input(self, bench: Bench) -> None:
        row = {"instruction": "Add these.", "input": "1 and 2", "output": "3", "system": "You add."}
        assert said(bench.first(row)) == [("system", "You add."), ("user", "Add these.\n\n1 and 2"), ("assistant", "3")]
        assert said(bench.first(row | {"input": "", "system": ""}, row)) == [("user", "Add these."), ("assistant", "3")]

    def test_system_message_for_all_who_have_none(self, bench: Bench) -> None:
        rows = [{"question": "a", "answer": "b", "system": ""}, {"question": "a", "answer": "b", "system": "own"}]
        examples = [each.example for each in bench.of(rows, system="shared").examples]
        assert [said(example)[0] for example in examples] == [("system", "shared"), ("system", "own")]
        own = chat()
        own["messages"].insert(0, {"role": "developer", "content": "own"})
        assert said(bench.first(own, system="shared"))[0] == ("developer", "own")
        assert said(bench.first(chat(), system="shared"))[0] == ("system", "shared")

    def test_numbers_and_objects_become_text(self, bench: Bench) -> None:
        assert said(bench.first({"question": 42, "answer": {"city": "Bern"}})) == [
            ("user", "42"),
            ("assistant", '{"city":"Bern"}'),
        ]

    def test_rows_with_nothing_to_learn_are_skipped(self, bench: Bench) -> None:
        good = {"question": "a", "answer": "b"}
        reasons = bench.skipped(*[good] * 8, good | {"answer": ""}, good | {"question": None})
        assert reasons == ["column `answer` is empty", "column `question` is empty"]

    def test_cells_with_missing_numbers_of_dataframes(self, bench: Bench, tmp_path: Path) -> None:
        pq.write_table(pa.table({"question": ["a", "b", "c"], "answer": [1.0, float("nan"), 2.5]}), bench.source)
        found = import_file(bench.source, ImportOptions(), counter=TokenCounter(None))
        assert [row.reason for row in found.skipped.rows] == ["column `answer` is empty"]


class TestConversations:
    def test_sharegpt(self, bench: Bench) -> None:
        row = {"conversations": [HUMAN, GPT, HUMAN, {**GPT, "weight": 0}], "system": "Be kind."}
        example = bench.first(row)
        assert [role for role, _ in said(example)] == ["system", "user", "assistant", "user", "assistant"]
        assert example["messages"][4]["weight"] == 0

    def test_tools_calls_and_results(self, bench: Bench) -> None:
        call = {"from": "function_call", "value": '{"name": "find", "arguments": {"number": 1}}'}
        twice = {"from": "function_call", "value": json.dumps([{"name": "a", "arguments": "{}"}, {"name": "b"}])}
        result = {"from": "observation", "value": "found"}
        definition = {"name": "find", "parameters": {"type": "object"}}
        row = {
            "conversations": [HUMAN, call, result, GPT, HUMAN, twice, result, result, GPT],
            "tools": json.dumps([definition]),
        }
        example = bench.first(row)
        messages = example["messages"]
        assert example["tools"] == [{"type": "function", "function": definition}]
        assert messages[1]["tool_calls"] == [
            {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"number":1}'}}
        ]
        assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == [
            "call_1",
            "call_2",
            "call_3",
        ]

    def test_role_and_content(self, bench: Bench) -> None:
        messages = [{**message, "id": 7, "name": None} for message in chat()["messages"]]
        assert bench.first({"conversation": messages}) == chat()

    def test_arguments_that_were_encoded_twice_are_mended(self, bench: Bench) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps('{"a": 1}')}}
        row = {"dialogue": [chat()["messages"][0], {"role": "assistant", "tool_calls": [call]}]}
        assert bench.first(row)["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'

    def test_what_cannot_be_converted_says_why(self, bench: Bench) -> None:
        good = {"conversations": [HUMAN, GPT], "tools": ""}
        bad: list[Any] = [
            {"conversations": [HUMAN, {"from": "narrator", "value": "x"}]},
            {"conversations": [HUMAN, {"from": "observation", "value": "x"}, GPT]},
            {"conversations": [HUMAN, {"from": "function_call", "value": "x"}]},
            {"conversations": [HUMAN, {"from": "function_call", "value": "{}"}]},
            {"conversations": [HUMAN]},
            {"conversations": []},
            good | {"tools": "x"},
            good | {"tools": "3"},
        ]
        assert bench.skipped(*[good] * 40, *bad) == [
            "turn 2 is from 'narrator', which is no known role",
            "turn 2 is a result, and nothing was called before",
            "turn 2 is a call that is not valid JSON",
            "turn 2 is a call without the name of a function",
            "messages: there is no assistant message to learn from (all are missing or have weight 0). "
            "Add the answer that the model should give.",
            "has no conversation: a list of turns with `from` and `value`, or `role` and `content`",
            "has tools that are not valid JSON",
            "has tools that are not a list of objects",
        ]

    def test_openais_own_lines_as_they_are(self, bench: Bench) -> None:
        rows = [chat(source="web"), chat(), {"messages": [{"role": "bot", "content": "x"}]}]
        found = bench.of(b"\n".join(json.dumps(row).encode() for row in rows * 2))
        assert (found.layout, found.source.container) == ("openai-chat", "jsonl")
        assert found.examples[0].example == chat()
        assert found.notes == ["Columns that are not used: source."]
        assert found.skipped.rows[0].row == 3
        assert "unknown role 'bot'" in found.skipped.rows[0].reason

    def test_parquet_of_messages(self, bench: Bench) -> None:
        """Every message has every key there, most of them null."""
        rows = [{"messages": [*chat()["messages"], {"role": "assistant", "content": "b", "weight": 0}]}] * 3
        pq.write_table(pa.Table.from_pylist(rows), bench.source)
        found = import_file(bench.source, ImportOptions(), counter=TokenCounter(None))
        assert (found.layout, found.skipped.count) == ("openai-chat", 0)
        assert found.examples[0].example == rows[0]


class TestPreferences:
    def test_table(self, bench: Bench) -> None:
        row = {"prompt": "Where?", "chosen": "Here.", "rejected": "No."}
        assert bench.first(row) == pair("Where?", "Here.", "No.")

    def test_sharegpt(self, bench: Bench) -> None:
        row = {
            "conversations": [{"from": "human", "value": "Where?"}],
            "chosen": GPT,
            "rejected": {**GPT, "value": "No."},
        }
        assert bench.first(row) == pair("Where?", "Here.", "No.")

    def test_whole_conversations_on_both_sides(self, bench: Bench) -> None:
        given = [{"role": "user", "content": "Where?"}]
        row = {"prompt": "Where?", "chosen": [*given, {"role": "assistant", "content": "Here."}],
               "rejected": [*given, {"role": "assistant", "content": "No."}]}  # fmt: skip
        assert bench.first(row) == pair("Where?", "Here.", "No.")
        without = {name: row[name] for name in ("chosen", "rejected")}
        assert bench.first(without) == pair("Where?", "Here.", "No.")
        other = without | {"rejected": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "No."}]}
        assert bench.skipped(without, other) == ["the two conversations differ before their last messages"]

    def test_openais_own_in_either_spelling(self, bench: Bench) -> None:
        old = (
            pair()
            | {"preferred_completion": pair()["preferred_output"]}
            | {"non_preferred_completion": pair()["non_preferred_output"]}
        )
        del old["preferred_output"], old["non_preferred_output"]
        assert bench.first(pair()) == pair()
        assert bench.first(old) == old
        assert bench.of([pair()]).format == "preference"


class TestUncertainty:
    def test_asks_for_a_mapping_and_shows_the_columns(self, bench: Bench) -> None:
        found = bench.of(table_of([{"a": "Where is it?", "b": "Here it is."}] * 3))
        assert (found.mapping_required, found.examples, found.report, found.source.rows) == (True, [], None, 3)
        assert "send a mapping" in found.message
        assert "'a' (such as 'Where is it?')" in found.message
        assert [column.name for column in found.source.columns] == ["a", "b"]

    def test_refuses_to_store(self, bench: Bench) -> None:
        with pytest.raises(Unusable, match="send a mapping") as refused:
            bench.of(table_of([{"a": "x", "b": "y"}] * 3), store=True)
        assert refused.value.param == "mapping"
        assert not bench.training.exists()

    def test_mapping_settles_it(self, bench: Bench) -> None:
        found = bench.of(table_of([{"a": "Where?", "b": "Here."}] * 3), mapping={"user": "b", "assistant": "a"})
        assert (found.confidence, found.mapping_required) == (100, False)
        assert said(found.examples[0].example) == [("user", "Here."), ("assistant", "Where?")]

    def test_mapping_must_fit(self, bench: Bench) -> None:
        with pytest.raises(Unusable, match="There is no column 'c'") as refused:
            bench.of([{"a": "x", "b": "y"}], mapping={"user": "a", "assistant": "c"})
        assert refused.value.param == "mapping.assistant"
        with pytest.raises(Unusable, match="A mapping names the columns"):
            bench.of([{"a": "x"}], mapping={"user": "a"})

    def test_format_overrides(self, bench: Bench) -> None:
        row = {"question": "a", "answer": "b", "conversations": [HUMAN, GPT]}
        assert bench.of([row]).layout == "sharegpt"
        assert bench.of([row], format="table").layout == "table"
        assert bench.of([chat()], format="preference").skipped.count == 1


class TestStored:
    def rows(self, count: int) -> bytes:
        return table_of(
            [{"question": f"Where is {spelt(row)}?", "answer": f"Here is {spelt(row)}."} for row in range(count)]
        )

    def test_what_was_shown_is_what_is_written(self, bench: Bench) -> None:
        found = bench.of(self.rows(30), store=True)
        lines = [json.loads(line) for line in bench.training.read_bytes().splitlines()]
        assert [each.example for each in found.examples] == lines[:10]
        assert [each.row for each in found.examples] == list(range(1, 11))
        assert found.report is not None
        written = validate_path(bench.training, "supervised")
        assert (written.examples, written.bytes, written.bad_examples) == (30, found.report.bytes, 0)
        assert written.tokens == found.report.tokens
        assert bench.validation.read_bytes() == b""

    def test_split_keeps_duplicates_together(self, bench: Bench) -> None:
        content = self.rows(200)
        found = bench.of(content + content.split(b"\n", 1)[1], store=True, split=0.2)
        assert found.training_examples + found.validation_examples == 400
        assert 40 < found.validation_examples < 130
        training, validation = (set(path.read_bytes().splitlines()) for path in (bench.training, bench.validation))
        assert len(training) + len(validation) == 200
        assert not training & validation

    def test_split_that_leaves_none_is_told(self, bench: Bench) -> None:
        found = bench.of(self.rows(1), split=0.0001)
        assert "left no example for validation" in found.notes[-1]

    def test_nothing_to_store_is_refused(self, bench: Bench) -> None:
        with pytest.raises(Unusable, match=r"None of the 2 rows can be converted: row 1 .*role 'bot'"):
            bench.of([{"messages": [{"role": "bot", "content": "x"}]}] * 2, store=True)

    def test_notes_and_scores_of_shown_examples(self, bench: Bench) -> None:
        good = "Where is the parcel that I was promised for today?"
        rows = [
            {"question": good, "answer": "Here."}, {"question": "?", "answer": "Here."},
            {"question": good, "answer": "th\u00c3\u00a9"}, {"question": good, "answer": "word " * 2000},
        ]  # fmt: skip
        shown = bench.of(rows).examples
        assert [(each.score, each.note) for each in shown] == [
            (100, "good"), (90, "a short input"), (80, "damaged characters"), (90, "a long answer"),
        ]  # fmt: skip
        assert len(shown[3].example["messages"][1]["content"]) < 2100

    def test_skipped_rows_are_counted_beyond_what_is_shown(self, bench: Bench) -> None:
        rows = [{"question": "a", "answer": "b"}] * 300 + [{"question": "a", "answer": ""}] * 50
        found = bench.of(rows)
        assert (found.skipped.count, len(found.skipped.rows), found.skipped.rows[0].row) == (50, 20, 301)
        assert found.message.startswith("300 of 350 rows were converted, 50 were skipped.")


class TestLeavingOut:
    ROWS: ClassVar = [
        {"question": "Where is my parcel?", "answer": "On its way."},
        {"question": "Where is my parcel?", "answer": "On its way."},
        {"question": "Do you ship to Norway?", "answer": "Yes, in three d\ufffd\ufffdys."},
        {"question": "Do you ship to Peru?", "answer": "Yes, in nine days."},
    ]

    def test_nothing_is_left_out_unasked(self, bench: Bench) -> None:
        found = bench.of(self.ROWS)
        assert (found.training_examples, found.skipped.count) == (4, 0)
        assert {each.code for each in found.report.findings} >= {"encoding", "duplicates"}  # type: ignore[union-attr]

    def test_rows_with_a_fault_are_neither_stored_nor_reported(self, bench: Bench) -> None:
        found = bench.of(self.ROWS, leave_out=["encoding", "duplicates"], store=True)
        assert [(row.row, row.reason) for row in found.skipped.rows] == [
            (2, "left out: the same as an earlier row"),
            (3, "left out: damaged characters"),
        ]
        assert len(bench.training.read_text().splitlines()) == found.training_examples == 2
        assert found.report is not None
        assert not {each.code for each in found.report.findings} & {"encoding", "duplicates"}
        assert (found.report.examples, found.report.duplicates) == (2, 0)

    def test_one_fault_does_not_stand_for_another(self, bench: Bench) -> None:
        assert [row.row for row in bench.of(self.ROWS, leave_out=["encoding"]).skipped.rows] == [3]

    def test_rows_by_their_numbers(self, bench: Bench) -> None:
        found = bench.of(self.ROWS, excluded_rows=[1, 4])
        assert [each.row for each in found.examples] == [2, 3]
        assert [row.row for row in found.skipped.rows] == [1, 4]

    def test_an_excluded_row_is_nobodys_original(self, bench: Bench) -> None:
        found = bench.of(self.ROWS, excluded_rows=[1], leave_out=["duplicates"])
        assert [each.row for each in found.examples] == [2, 3, 4]
