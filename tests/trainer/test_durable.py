from pathlib import Path

from trainer.durable import write_atomically


class TestWriteAtomically:
    def test_replaces_and_leaves_no_draft(self, tmp_path: Path):
        path = tmp_path / "result.json"
        write_atomically(path, b"old")
        write_atomically(path, b"new")
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]
