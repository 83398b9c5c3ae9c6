"""Files of any kind as items of an eval."""

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.datasets import eval_items
from gateway.datasets.eval_items import import_items
from gateway.datasets.unusable import Unusable
from gateway.protocol.eval_items import ImportedItems

CHAT = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


def found_in(directory: Path, content: bytes | list[Any], **options: Any) -> tuple[ImportedItems, list[Any]]:
    """What is told, and the lines that were written."""
    path, output = directory / "source", directory / "items"
    raw = content if isinstance(content, bytes) else b"\n".join(msgspec.json.encode(each) for each in content)
    path.write_bytes(raw)
    found = import_items(path, output, **options)
    return found, [msgspec.json.decode(line) for line in output.read_bytes().splitlines()]


class TestLayouts:
    def test_rows_of_a_table(self, tmp_path: Path) -> None:
        found, lines = found_in(tmp_path, b"a;b\n1;x\n2;y\n")
        assert found.layout == "table"
        assert lines == [{"item": {"a": "1", "b": "x"}}, {"item": {"a": "2", "b": "y"}}]

    def test_items_with_answers_of_their_own(self, tmp_path: Path) -> None:
        given = [{"item": {"a": 1}, "sample": {"output_text": "x"}}, {"item": {"a": 2}}]
        found, lines = found_in(tmp_path, given)
        assert lines == given
        assert (found.with_sample, found.ready) == (1, True)

    def test_training_examples_hold_their_last_answer_out(self, tmp_path: Path) -> None:
        pair = {
            "input": {"messages": CHAT[:1]},
            "preferred_output": [{"role": "assistant", "content": "Good day"}],
            "non_preferred_output": [{"role": "assistant", "content": "What?"}],
        }
        found, lines = found_in(tmp_path, [{"messages": CHAT}, pair, {"messages": CHAT[:1]}])
        assert [each["item"]["expected"] for each in lines] == ["Hi", "Good day"]
        assert lines[0]["item"]["input"] == CHAT[:1]
        assert found.item_schema["properties"]["input"] == {"type": "array", "items": {"type": "object"}}
        assert [each.row for each in found.skipped.rows] == [3]

    def test_parquet_with_what_json_has_not(self, tmp_path: Path) -> None:
        path, output = tmp_path / "source", tmp_path / "items"
        columns = {"name": ["a", None], "when": pa.array([0, 1], pa.timestamp("s")), "share": [0.5, float("nan")]}
        pq.write_table(pa.table(columns), path)
        found = import_items(path, output)
        first, second = (msgspec.json.decode(line)["item"] for line in output.read_bytes().splitlines())
        assert first == {"name": "a", "when": "1970-01-01T00:00:00", "share": 0.5}
        assert second == {"when": "1970-01-01T00:00:01"}
        assert found.item_schema["required"] == ["when"]


class TestSchema:
    @pytest.mark.parametrize(
        ("values", "described"),
        [
            ([1, 2], {"type": "integer"}),
            ([1, 2.5], {"type": "number"}),
            ([True, False], {"type": "boolean"}),
            (["a", 1], {"type": ["integer", "string"]}),
            ([[{"a": 1}], []], {"type": "array", "items": {"type": "object"}}),
            ([["a"], [{}]], {"type": "array"}),
            ([{"a": None}, {}], {"type": "object"}),
        ],
    )
    def test_types(self, tmp_path: Path, values: list[Any], described: dict[str, Any]) -> None:
        found, _ = found_in(tmp_path, [{"item": {"v": each}} for each in values])
        assert found.item_schema["properties"]["v"] == described

    def test_what_is_not_in_every_item_is_not_required(self, tmp_path: Path) -> None:
        found, _ = found_in(tmp_path, [{"a": 1, "b": 1}, {"a": 1}, {"a": 1, "b": None}])
        assert found.item_schema["required"] == ["a"]

    def test_strangers_name_no_end_of_fields(self, tmp_path: Path) -> None:
        found, lines = found_in(tmp_path, [{f"f{n}": n for n in range(300)}])
        assert len(found.item_schema["properties"]) == eval_items.MOST_FIELDS
        assert len(lines[0]["item"]) == 300


class TestBounds:
    def test_more_than_a_run_takes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(eval_items, "MOST_ITEMS", 2)
        with pytest.raises(Unusable, match="more than 2 items"):
            found_in(tmp_path, [{"a": 1}] * 3)
        assert found_in(tmp_path, [{"a": 1}] * 3, limit=2)[0].items == 2
        assert found_in(tmp_path, [{"a": 1}] * 2)[0].items == 2

    def test_long_texts_are_cut_where_they_are_shown_alone(self, tmp_path: Path) -> None:
        found, lines = found_in(tmp_path, [{"a": "x" * 900}])
        assert len(lines[0]["item"]["a"]) == 900
        assert len(found.examples[0]["a"]) < 520

    def test_rows_that_are_no_item_are_told(self, tmp_path: Path) -> None:
        found, lines = found_in(tmp_path, b'{"item": {"a": 1}}\n{"item": 5}\n{"item": {}}\nno\n')
        assert len(lines) == 1
        assert [each.row for each in found.skipped.rows] == [2, 3, 4]
        assert not found.ready
