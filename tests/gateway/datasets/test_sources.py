"""Files of every kind -> rows."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.datasets import tables
from gateway.datasets.sources import Row, Source, open_source
from gateway.datasets.unusable import Unusable

ROWS: list[dict[str, Any]] = [
    {"question": "Wo, bitte?", "answer": 'Hier: "im Büro"'},
    {"question": "zwei\nZeilen", "answer": "日本"},
    {"question": "drei; mit | allem, was trennt\t.", "answer": "ja"},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "source"


def opened(path: Path, content: bytes) -> Source:
    path.write_bytes(content)
    return open_source(path)


def values(source: Source) -> list[Any]:
    return [row.values for row in source.rows()]


def written_csv(delimiter: str = ",", quote: str = '"', rows: list[dict[str, Any]] = ROWS) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, quotechar=quote)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class TestCsv:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("quote", ['"', "'"])
    def test_delimiter_and_quote_are_found(self, path: Path, delimiter: str, quote: str) -> None:
        source = opened(path, written_csv(delimiter, quote, ROWS * 5).encode())
        assert (source.container, source.encoding) == ("csv", "utf-8")
        assert source.dialect is not None
        assert (source.dialect.delimiter, source.dialect.quotechar) == (delimiter, quote)
        assert values(source) == ROWS * 5

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_encodings_of_unicode_are_found(self, path: Path, encoding: str) -> None:
        source = opened(path, written_csv().encode(encoding))
        assert values(source) == ROWS
        assert source.notes == []

    @pytest.mark.parametrize(("encoding", "read_as"), [("windows-1252", "windows-1252"), ("latin-1", "windows-1252")])
    def test_older_encodings_are_read_with_a_note(self, path: Path, encoding: str, read_as: str) -> None:
        rows = [{"question": "Où ça ?", "answer": "Là, à l'école"}]
        source = opened(path, written_csv(rows=rows).encode(encoding))
        assert source.encoding == read_as
        assert values(source) == rows
        assert "not in UTF-8" in source.notes[0]

    def test_bytes_of_no_encoding_are_still_read(self, path: Path) -> None:
        source = opened(path, b"question,answer\nth\xe9,\x81\n")
        assert source.encoding == "latin-1"
        assert values(source) == [{"question": "thé", "answer": "\x81"}]

    def test_byte_that_breaks_utf_8_far_behind(self, path: Path) -> None:
        source = opened(path, b"question,answer\n" + b"hello there,yes\n" * 50_000 + b"th\xe9,no\n")
        assert source.encoding == "windows-1252"
        assert values(source)[-1] == {"question": "thé", "answer": "no"}

    def test_table_without_a_heading(self, path: Path) -> None:
        source = opened(path, b"1,What is it?\n2,Where is it?\n")
        assert values(source)[0] == {"column_1": "1", "column_2": "What is it?"}

    @pytest.mark.parametrize("lead", ["\n", "\n \n", ",,\n"])
    def test_blank_lines_before_the_heading(self, path: Path, lead: str) -> None:
        source = opened(path, (lead + "question,answer,x\n1,2,3\n").encode())
        assert values(source) == [{"question": "1", "answer": "2", "x": "3"}]

    @pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\n", b",,\n,,\n"])
    def test_a_table_without_rows(self, path: Path, content: bytes) -> None:
        with pytest.raises(Unusable, match="no rows"):
            values(opened(path, content))

    def test_index_of_a_dataframe_has_no_name(self, path: Path) -> None:
        assert values(opened(path, b",question,answer\n0,a,b\n")) == [{"column_1": "0", "question": "a", "answer": "b"}]

    def test_rows_of_another_width_are_faults(self, path: Path) -> None:
        source = opened(path, b"a,b\n1,2\n1,2,3\n\n3,4\n")
        rows = list(source.rows())
        assert [row.values for row in rows if not row.fault] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
        assert [(row.number, row.fault) for row in rows if row.fault] == [(2, "has 3 cells, and there are 2 columns")]

    def test_quote_that_is_never_closed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "LONGEST_VALUE", 1000)
        source = opened(path, b'a,b\n1,2\n"3,4\n' + b"5,6\n" * 1000)
        with pytest.raises(Unusable, match=r"beyond row 1.*never closed"):
            list(source.rows())

    def test_one_column_of_text(self, path: Path) -> None:
        assert values(opened(path, b"text\nhello\n")) == [{"text": "hello"}]


class TestJson:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
    @pytest.mark.parametrize("indent", [None, 2])
    def test_array(self, path: Path, encoding: str, indent: int | None) -> None:
        source = opened(path, json.dumps(ROWS, ensure_ascii=False, indent=indent).encode(encoding))
        assert source.container == "json"
        assert values(source) == ROWS

    @pytest.mark.parametrize("indent", [None, 2])
    def test_array_within_an_object(self, path: Path, indent: int | None) -> None:
        content = json.dumps({"version": [1, 2], "about": {"x": [1]}, "data": ROWS}, indent=indent)
        source = opened(path, content.encode())
        assert (source.container, source.place) == ("json", "data.item")
        assert values(source) == ROWS

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
    def test_lines(self, path: Path, encoding: str) -> None:
        rows = [{"question": "où", "answer": "là"}] * 3
        content = "\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        source = opened(path, content.encode(encoding))
        assert source.container == "jsonl"
        assert values(source) == rows

    def test_single_line_with_a_conversation_is_a_row(self, path: Path) -> None:
        row = {"messages": [{"role": "user", "content": "hi"}]}
        source = opened(path, json.dumps(row).encode())
        assert (source.container, values(source)) == ("jsonl", [row])

    @pytest.mark.parametrize(
        "row",
        [
            {
                "messages": [{"role": "user", "content": "hi"}],
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            {"functions": [{"name": "f", "parameters": {}}], "messages": [{"role": "user", "content": "hi"}]},
            {"documents": [{"title": "t"}], "conversations": [{"from": "human", "value": "hi"}]},
            {"tools": [{"name": "f"}], "question": "hi", "answer": "hello"},
        ],
    )
    def test_what_goes_with_a_conversation_is_no_table(self, path: Path, row: dict[str, Any]) -> None:
        source = opened(path, json.dumps(row).encode())
        assert (source.container, values(source)) == ("jsonl", [row])

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_a_conversation_laid_out_for_people_is_a_row(self, path: Path, encoding: str) -> None:
        row = {"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "hi"}]}
        source = opened(path, json.dumps(row, indent=2).encode(encoding))
        assert (source.container, values(source)) == ("json", [row])

    def test_roles_of_people_make_no_conversation(self, path: Path) -> None:
        content = {"team": [{"role": "editor", "name": "Ann"}], "version": 2}
        source = opened(path, json.dumps(content).encode())
        assert values(source) == content["team"]

    def test_conversations_within_an_object_are_rows(self, path: Path) -> None:
        rows = [{"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "f"}]}] * 2
        source = opened(path, json.dumps({"conversations": rows}).encode())
        assert (source.container, values(source)) == ("json", rows)

    def test_broken_lines_are_faults(self, path: Path) -> None:
        rows = list(opened(path, b'{"a": 1}\n{oops\n[1]\n"text"\n{"a": \xff}\n{"a": 2}\n').rows())
        assert [row.number for row in rows if not row.fault] == [1, 6]
        assert [row.fault.split(":")[0] for row in rows if row.fault] == [
            "is not valid JSON",
            "is not an object with named values",
            "is not an object with named values",
            "is not valid JSON",
        ]

    def test_broken_first_line_does_not_hide_the_lines(self, path: Path) -> None:
        rows = list(opened(path, b'{oops\n{"a": 1}\n').rows())
        assert rows[1] == Row(2, {"a": 1})
        assert rows[0].fault.startswith("is not valid JSON")

    def test_other_values_of_an_array_are_faults(self, path: Path) -> None:
        rows = list(opened(path, b'[{"a": 1}, [1], "x", 3, null]').rows())
        assert [bool(row.fault) for row in rows] == [False, True, True, True, True]

    @pytest.mark.parametrize("content", [b'[{"a": 1}, {"a": ', b'[{"a": 1}, {oops}]', b'[{"a": 1} {"a": 2}]'])
    def test_array_that_breaks_off_says_where(self, path: Path, content: bytes) -> None:
        with pytest.raises(Unusable, match="beyond row 1: "):
            list(opened(path, content).rows())

    def test_object_without_rows(self, path: Path) -> None:
        with pytest.raises(Unusable, match="no array of objects"):
            opened(path, b'{\n"a": [1],\n"b": {}\n}')

    def test_numbers_stay_numbers(self, path: Path) -> None:
        assert values(opened(path, b'[{"a": 1, "b": 0.5, "c": null, "d": true}]')) == [
            {"a": 1, "b": 0.5, "c": None, "d": True}
        ]


class TestParquet:
    def test_rows(self, path: Path) -> None:
        rows = [{"messages": [{"role": "user", "content": "é"}], "n": 1}, {"messages": [], "n": None}]
        pq.write_table(pa.Table.from_pylist(rows), path)
        source = open_source(path)
        assert (source.container, source.encoding) == ("parquet", None)
        assert values(source) == rows

    def test_more_rows_than_a_batch(self, path: Path) -> None:
        pq.write_table(pa.table({"a": list(range(1001))}), path, row_group_size=300)
        assert [row.values["a"] for row in open_source(path).rows()] == list(range(1001))

    @pytest.mark.parametrize("keep", [4, 10, 100, 1000])
    def test_damaged_file(self, path: Path, keep: int) -> None:
        pq.write_table(pa.table({"a": [f"{number}" * 9 for number in range(500)]}), path)
        with pytest.raises(Unusable, match="cannot be read"):
            list(opened(path, path.read_bytes()[:keep]).rows())

    def test_flipped_bytes_never_escape(self, path: Path) -> None:
        pq.write_table(pa.table({"a": [f"{number}" * 9 for number in range(50)]}), path, write_page_checksum=True)
        whole = path.read_bytes()
        for place in range(4, len(whole), 37):
            broken = bytearray(whole)
            broken[place] ^= 0xFF
            try:
                list(opened(path, bytes(broken)).rows())
            except (Unusable, MemoryError):
                continue

    def test_too_many_columns(self, path: Path) -> None:
        pq.write_table(pa.table({f"c{number}": [1] for number in range(1001)}), path)
        with pytest.raises(Unusable, match="more than 1000 columns"):
            list(open_source(path).rows())


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "empty"), (b" \n\r\n", "empty"), (b"PK\x03\x04rest", "compressed"), (b"\x1f\x8brest", "compressed"),
        ],
    )  # fmt: skip
    def test_files_that_are_no_source(self, path: Path, content: bytes, message: str) -> None:
        with pytest.raises(Unusable, match=message):
            opened(path, content)
