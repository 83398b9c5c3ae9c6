import os
import shutil
import time
from pathlib import Path

import pytest

from gateway.fine_tuning.exports import Export, flat_name, lock, remove_unused


@pytest.fixture
def export(tmp_path: Path) -> Export:
    (tmp_path / "exports").mkdir()
    return Export(tmp_path, "ftjob-1")


def make(export: Export) -> None:
    incomplete = export.incomplete()
    incomplete.mkdir()
    (incomplete / "weights").write_bytes(b"x")
    export.complete(incomplete)


def names(export: Export) -> list[str]:
    return sorted(path.name for path in export.directory.parent.iterdir())


def long_ago(path: Path) -> None:
    os.utime(path, (time.time() - 100, time.time() - 100))


class TestFlatName:
    def test_is_one_part_of_a_path(self) -> None:
        assert flat_name("ft:org/base:acme:v 2:abc:ckpt-step-8") == "ft-org-base-acme-v-2-abc-ckpt-step-8"


class TestExport:
    def test_appears_complete(self, export: Export) -> None:
        assert not export.is_ready
        incomplete = export.incomplete()
        incomplete.mkdir()
        assert not export.is_ready
        export.complete(incomplete)
        assert export.is_ready
        assert names(export) == ["ftjob-1"]

    def test_keeps_why_it_failed_until_told_to_forget(self, export: Export) -> None:
        assert export.failure is None
        export.fail("Disk full.")
        assert export.failure == "Disk full."
        assert not export.is_ready
        export.forget_failure()
        assert export.failure is None
        export.forget_failure()


class TestLock:
    def test_is_held_by_one(self, export: Export) -> None:
        with export.lock() as first, export.lock() as second, lock(export.data_dir, "another") as other:
            assert (first, second, other) == (True, False, True)
        with export.lock() as again:
            assert again


class TestRemoveUnused:
    def test_use_keeps_it(self, export: Export, tmp_path: Path) -> None:
        make(export)
        assert remove_unused(tmp_path, {"ftjob-1"}, unused_seconds=50) == []
        long_ago(export.directory)
        export.use()
        assert remove_unused(tmp_path, {"ftjob-1"}, unused_seconds=50) == []
        long_ago(export.directory)
        assert remove_unused(tmp_path, {"ftjob-1"}, unused_seconds=50) == ["ftjob-1"]
        assert names(export) == []

    def test_no_model_names_it(self, export: Export, tmp_path: Path) -> None:
        make(export)
        assert remove_unused(tmp_path, {"ftjob-2"}, unused_seconds=50) == ["ftjob-1"]

    def test_what_is_being_made_stays_and_what_was_left_behind_goes(self, export: Export, tmp_path: Path) -> None:
        making = export.incomplete()
        making.mkdir()
        export.fail("x")
        assert remove_unused(tmp_path, set(), unused_seconds=50) == []
        for path in (making, export.directory.with_name(".ftjob-1.failed")):
            long_ago(path)
        assert sorted(remove_unused(tmp_path, set(), unused_seconds=50)) == [".ftjob-1.failed", making.name]

    def test_goes_all_at_once(self, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make(export)
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "rmtree", lambda *_, **__: None)  # killed here
            assert remove_unused(tmp_path, set(), unused_seconds=50) == ["ftjob-1"]
        assert not export.is_ready
        [leaving] = names(export)
        long_ago(tmp_path / "exports" / leaving)
        assert remove_unused(tmp_path, set(), unused_seconds=50) == [leaving]
        assert names(export) == []

    def test_what_another_worker_has_just_removed_disturbs_nothing(
        self, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(export)
        gone = tmp_path / "exports" / "ftjob-gone"
        monkeypatch.setattr(Path, "iterdir", lambda _: iter([gone, export.directory]))
        assert remove_unused(tmp_path, set(), unused_seconds=50) == ["ftjob-1"]

    def test_nothing_was_ever_exported(self, tmp_path: Path) -> None:
        assert remove_unused(tmp_path, set(), unused_seconds=50) == []
