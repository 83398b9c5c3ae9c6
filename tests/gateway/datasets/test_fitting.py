"""Data of evals against their schema, in this process and in one of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.datasets.fitting import fit
from gateway.datasets.isolated import Isolated, fill, path_of, temporary
from gateway.datasets.unusable import Unusable
from gateway.errors import InvalidRequest
from gateway.files.service import one_piece

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}


def fitted(tmp_path: Path, lines: bytes, schema: Any = SCHEMA, max_lines: int = 100) -> int:
    (tmp_path / "schema").write_text(json.dumps(schema))
    (tmp_path / "lines").write_bytes(lines)
    return fit(tmp_path / "schema", tmp_path / "lines", max_lines=max_lines).lines


class TestFit:
    def test_counts_what_fits(self, tmp_path: Path) -> None:
        assert fitted(tmp_path, b'{"item": {"q": "a"}}\n\n{"item": {"q": "b"}, "sample": {"output_text": "x"}}\n') == 2

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            (b'{"item": {"q": 7}}', "Item 2 (line 3) does not fit the eval's item_schema: item.q: 7 is not of type"),
            (b'{"item": {}}', "'q' is a required property"),
            (b'{"item": {"q": "a"}, "more": 1}', "Line 3 is not"),
            (b'{"item": [1]}', "Line 3 is not"),
            (b"\xff\xfe", "Line 3 is not"),
            (b"[" * 100_000, "Line 3 is not"),
        ],
    )
    def test_names_the_first_line_that_does_not(self, tmp_path: Path, line: bytes, said: str) -> None:
        with pytest.raises(Unusable) as error:
            fitted(tmp_path, b'\n{"item": {"q": "a"}}\n' + line)
        assert said in str(error.value)
        assert error.value.param == "data_source.source"

    def test_what_is_no_jsonl(self, tmp_path: Path) -> None:
        with pytest.raises(Unusable, match="compressed"):
            fitted(tmp_path, b"\x1f\x8bxxxx")

    def test_too_many(self, tmp_path: Path) -> None:
        with pytest.raises(Unusable, match="more than 1 items"):
            fitted(tmp_path, b'{"item": {"q": "a"}}\n' * 2, max_lines=1)

    @pytest.mark.parametrize("schema", [{"type": "house"}, {"properties": 7}, {"required": "q"}])
    def test_a_schema_that_is_none(self, tmp_path: Path, schema: Any) -> None:
        with pytest.raises(Unusable) as error:
            fitted(tmp_path, b"", schema)
        assert error.value.param == "data_source_config.item_schema"

    def test_references_are_not_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fetched: list[Any] = []
        monkeypatch.setattr("urllib.request.urlopen", lambda *arguments, **_: fetched.append(arguments))
        with pytest.raises(Unusable, match="leads nowhere within it"):
            fitted(tmp_path, b'{"item": {"q": "a"}}', {"$ref": "http://127.0.0.1:9/x.json"})
        assert fetched == []

    def test_a_reference_to_itself(self, tmp_path: Path) -> None:
        with pytest.raises(Unusable, match="nested too deeply"):
            fitted(tmp_path, b'{"item": {"q": "a"}}', {"$ref": "#"})


@pytest.mark.anyio
class TestInAProcessOfItsOwn:
    async def run(self, tmp_path: Path, lines: bytes, schema: Any, seconds: float = 60.0) -> bytes:
        with temporary(tmp_path) as content, temporary(tmp_path) as rules:
            await fill(content, one_piece(lines))
            await fill(rules, one_piece(json.dumps(schema).encode()))
            arguments = ["fit", path_of(content), "--schema", path_of(rules), "--max-lines", "10"]
            return await Isolated(seconds=seconds).run(arguments, [content, rules])

    async def test_says_how_many(self, tmp_path: Path) -> None:
        assert json.loads(await self.run(tmp_path, b'{"item": {"q": "a"}}', SCHEMA)) == {"lines": 1}

    async def test_says_what_is_wrong(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match="does not fit") as error:
            await self.run(tmp_path, b'{"item": {}}', SCHEMA)
        assert error.value.param == "data_source.source"

    async def test_a_pattern_that_never_ends_is_stopped(self, tmp_path: Path) -> None:
        schema = {"properties": {"q": {"pattern": "^(a+)+$"}}}
        line = json.dumps({"item": {"q": "a" * 64 + "!"}}).encode()
        with pytest.raises(InvalidRequest, match="takes more than"):
            await self.run(tmp_path, line, schema, seconds=3.0)
