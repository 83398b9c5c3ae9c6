from pathlib import Path
from typing import Literal

import pytest

from trainer import checkpoints
from trainer.checkpoints import Manifest
from trainer.contract import Metrics


def save(root: Path, step: int, kind: Literal["epoch", "resume"] = "epoch", *, sealed: bool = True) -> Path:
    path = checkpoints.directory(root, step)
    path.mkdir()
    (path / "adapter_model.safetensors").write_text(f"weights of {step}")
    (path / "optimizer.pt").write_text(f"moments of {step}")
    if sealed:
        manifest = Manifest(step=step, epoch=step, kind=kind, metrics=Metrics(step=step, train_loss=0.5), seconds=1.0)
        checkpoints.seal(path, manifest)
    return path


def steps(root: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in root.iterdir())


class TestNewest:
    def test_is_none_in_an_empty_directory(self, tmp_path: Path):
        assert checkpoints.newest(tmp_path) is None

    def test_counts_steps_as_numbers(self, tmp_path: Path):
        save(tmp_path, 9)
        path = save(tmp_path, 10)
        found = checkpoints.newest(tmp_path)
        assert found is not None
        assert found[0] == path
        assert found[1].metrics == Metrics(step=10, train_loss=0.5)

    def test_passes_over_one_without_manifest(self, tmp_path: Path):
        save(tmp_path, 1)
        save(tmp_path, 2, sealed=False)
        found = checkpoints.newest(tmp_path)
        assert found is not None
        assert found[1].step == 1

    @pytest.mark.parametrize("damage", ["changed", "missing", "manifest"])
    def test_passes_over_a_damaged_one(self, tmp_path: Path, damage: str):
        save(tmp_path, 1)
        path = save(tmp_path, 2)
        if damage == "changed":
            (path / "optimizer.pt").write_text("momentz of 2")
        elif damage == "missing":
            (path / "optimizer.pt").unlink()
        else:
            (path / checkpoints.MANIFEST).write_text('{"step": 2, "ep')
        found = checkpoints.newest(tmp_path)
        assert found is not None
        assert found[1].step == 1


class TestSeal:
    def test_covers_directories(self, tmp_path: Path):
        """A tokenizer with several chat templates keeps them in one."""
        path = save(tmp_path, 1, sealed=False)
        (path / "additional_chat_templates").mkdir()
        template = path / "additional_chat_templates" / "tool_use.jinja"
        template.write_text("{{ tools }}")
        manifest = Manifest(step=1, epoch=1, kind="epoch", metrics=Metrics(step=1), seconds=1.0)
        assert "additional_chat_templates/tool_use.jinja" in checkpoints.seal(path, manifest).files
        assert checkpoints.newest(tmp_path) is not None
        template.write_text("{{ tool }}")
        assert checkpoints.newest(tmp_path) is None


class TestPrune:
    def test_keeps_the_last_three_epochs(self, tmp_path: Path):
        for step in (2, 4, 6, 8, 10):
            save(tmp_path, step)
        checkpoints.prune(tmp_path)
        assert steps(tmp_path) == [6, 8, 10]

    def test_keeps_a_resume_checkpoint_while_it_is_the_newest(self, tmp_path: Path):
        for step in (2, 4, 6):
            save(tmp_path, step)
        save(tmp_path, 5, "resume")
        save(tmp_path, 7, "resume")
        checkpoints.prune(tmp_path)
        assert steps(tmp_path) == [2, 4, 6, 7]


class TestDiscardIncomplete:
    def test_deletes_what_has_no_manifest(self, tmp_path: Path):
        save(tmp_path, 1)
        save(tmp_path, 2, sealed=False)
        checkpoints.discard_incomplete(tmp_path)
        assert steps(tmp_path) == [1]


class TestPromote:
    def test_makes_a_resume_checkpoint_an_epochs(self, tmp_path: Path):
        path = save(tmp_path, 4, "resume")
        found = checkpoints.newest(tmp_path)
        assert found is not None
        checkpoints.promote(path, found[1], Metrics(step=4, full_valid_loss=0.25))
        again = checkpoints.newest(tmp_path)
        assert again is not None
        assert (again[1].kind, again[1].metrics.full_valid_loss) == ("epoch", 0.25)
