import errno
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.fine_tuning import publish as module
from gateway.fine_tuning.publish import (
    directory_name,
    is_adapter_file,
    is_model_file,
    job_of,
    kind_of,
    publish,
    published,
    withdraw,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "job" / "adapter"
    (source / "deep").mkdir(parents=True)
    (source / "adapter_config.json").write_text("{}")
    (source / "deep" / "weights").write_bytes(b"x" * 1000)
    return source


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "adapters").iterdir())


class TestPublish:
    def test_copies_everything_to_a_flat_name(self, source: Path, tmp_path: Path) -> None:
        assert publish(source, tmp_path, "ftjob-1") == "adapters/ftjob-1"
        assert (tmp_path / "adapters" / "ftjob-1" / "deep" / "weights").read_bytes() == b"x" * 1000
        assert names(tmp_path) == ["ftjob-1"]

    def test_copies_only_what_is_wanted(self, source: Path, tmp_path: Path) -> None:
        (source / "optimizer.pt").write_bytes(b"state")
        (source / "adapter_model.safetensors").write_bytes(b"weights")
        (source / "probe.json").write_text("{}")
        path = tmp_path / publish(source, tmp_path, directory_name("ftjob-1", 12), is_adapter_file)
        assert path.name == "ftjob-1-step-12"
        assert sorted(file.name for file in path.rglob("*") if file.is_file()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
            "probe.json",
        ]

    def test_second_try_finds_it_and_changes_nothing(self, source: Path, tmp_path: Path) -> None:
        publish(source, tmp_path, "ftjob-1")
        (source / "adapter_config.json").write_text("changed")
        assert publish(source, tmp_path, "ftjob-1") == "adapters/ftjob-1"
        assert (tmp_path / "adapters" / "ftjob-1" / "adapter_config.json").read_text() == "{}"

    def test_copy_that_breaks_leaves_nothing(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: Path) -> None:
            raise OSError("no space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(module, "_sync", full)
            with pytest.raises(OSError, match="no space"):
                publish(source, tmp_path, "ftjob-1")
        assert names(tmp_path) == []
        publish(source, tmp_path, "ftjob-1")
        assert names(tmp_path) == ["ftjob-1"]

    def test_leftover_of_a_dead_worker_does_not_stay(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "adapters" / ".ftjob-1.dead").mkdir(parents=True)
        publish(source, tmp_path, "ftjob-1")
        assert names(tmp_path) == ["ftjob-1"]

    def test_two_at_once_both_find_it_complete(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both = threading.Barrier(2, timeout=10)
        copy = module._copy

        def together(source: Path, target: Path, wanted: Callable[[str], bool]) -> None:
            copy(source, target, wanted)
            both.wait()

        monkeypatch.setattr(module, "_copy", together)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda _: publish(source, tmp_path, "ftjob-1"), range(2)))
        assert done == ["adapters/ftjob-1"] * 2
        assert (tmp_path / "adapters" / "ftjob-1" / "deep" / "weights").exists()
        assert names(tmp_path) == ["ftjob-1"]

    def test_slower_one_whose_copy_was_cleared_away_finds_it_too(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = module._copy

        def overtaken(source: Path, target: Path, _: Callable[[str], bool]) -> None:
            target.mkdir(parents=True)
            monkeypatch.setattr(module, "_copy", copy)
            publish(source, tmp_path, "ftjob-1")
            (target / "weights").write_bytes(b"x")

        monkeypatch.setattr(module, "_copy", overtaken)
        assert publish(source, tmp_path, "ftjob-1") == "adapters/ftjob-1"
        assert names(tmp_path) == ["ftjob-1"]

    def test_missing_source_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            publish(tmp_path / "nothing", tmp_path, "ftjob-1")

    @pytest.mark.parametrize("everything", [True, False])
    def test_source_that_is_deleted_meanwhile_is_missing_too(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool
    ) -> None:
        (source / "model.safetensors").write_bytes(b"weights")
        copy = module.shutil.copy2

        def overtaken(path: Path, target: Path) -> None:
            if everything:
                copy(path, target)
            module.shutil.rmtree(source)
            if not everything:
                copy(path, target)

        monkeypatch.setattr(module.shutil, "copy2", overtaken)
        with pytest.raises(FileNotFoundError):
            publish(source, tmp_path, "ftjob-1", lambda name: name == "model.safetensors")
        assert names(tmp_path) == []

    def test_full_disk_is_told_as_such(self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module.shutil, "copy2", full)
        with pytest.raises(OSError, match="No space") as caught:
            publish(source, tmp_path, "ftjob-1")
        assert caught.value.errno == errno.ENOSPC


class TestWithdraw:
    def test_removes_it_and_no_other(self, source: Path, tmp_path: Path) -> None:
        publish(source, tmp_path, "ftjob-1")
        publish(source, tmp_path, "ftjob-2")
        withdraw(tmp_path, "ftjob-1")
        withdraw(tmp_path, "ftjob-never")
        assert names(tmp_path) == ["ftjob-2"]

    def test_what_a_crash_left_of_it_looks_unpublished_and_goes_at_the_next_try(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(source, tmp_path, "ftjob-1")
        with monkeypatch.context() as patched:
            patched.setattr(module.shutil, "rmtree", lambda *_, **__: None)
            withdraw(tmp_path, "ftjob-1")
        assert names(tmp_path) == [".ftjob-1.leaving"]
        assert list(published(tmp_path)) == []
        publish(source, tmp_path, "ftjob-1")
        assert names(tmp_path) == ["ftjob-1"]


class TestPublished:
    def test_lists_every_directory(self, source: Path, tmp_path: Path) -> None:
        assert list(published(tmp_path)) == []
        for name in ("ftjob-1", "ftjob-1-step-3"):
            publish(source, tmp_path, name)
        assert sorted(path.name for path in published(tmp_path)) == ["ftjob-1", "ftjob-1-step-3"]
        assert {job_of(path) for path in published(tmp_path)} == {"ftjob-1"}


class TestKindOf:
    def test_is_said_by_its_configuration(self, source: Path, tmp_path: Path) -> None:
        assert kind_of(source) == "adapter"
        (source / "config.json").write_text("{}")
        assert kind_of(source) == "adapter"
        (source / "adapter_config.json").unlink()
        assert kind_of(source) == "full"
        with pytest.raises(FileNotFoundError, match="adapter_config"):
            kind_of(tmp_path)


class TestIsModelFile:
    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            ("model.safetensors", True),
            ("model-00001-of-00002.safetensors", True),
            ("model.safetensors.index.json", True),
            ("config.json", True),
            ("chat_template.jinja", True),
            ("tokenizer.model", True),
            ("merges.txt", True),
            ("probe.json", True),
            ("optimizer.pt", False),
            ("rng_state.pth", False),
            ("training_args.bin", False),
            ("trainer_state.json", False),
            ("manifest.json", False),
        ],
    )
    def test_leaves_the_optimizer_out(self, name: str, wanted: bool) -> None:
        assert is_model_file(name) is wanted
