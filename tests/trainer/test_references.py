from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from trainer import references
from trainer.pairs import Pair, Pairs

pytestmark = pytest.mark.train

VALUES = np.array([[-1.5, -2.25], [-3.0, -4.0]], dtype=np.float32)


def pairs(*lengths: int) -> Pairs:
    return Pairs(rows=[Pair(*[np.full(length, 7, dtype=np.int32)] * 4) for length in lengths])


SOURCE = references.source("model", [pairs(1, 2)])


class TestFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / references.FILE
        references.save(path, SOURCE, VALUES)
        return path

    def test_gives_back_every_bit(self, path: Path):
        loaded = references.load(path, SOURCE)
        assert loaded is not None
        assert loaded.tobytes() == VALUES.tobytes()
        assert loaded.shape == VALUES.shape

    def test_is_none_before_it_is_written(self, tmp_path: Path):
        assert references.load(tmp_path / "nothing", SOURCE) is None

    def test_of_another_source_is_none(self, path: Path):
        assert references.load(path, references.source("model", [pairs(1, 3)])) is None

    @pytest.mark.parametrize("position", [0, 40, 70, -1])
    def test_that_is_damaged_is_none(self, path: Path, position: int):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        assert references.load(path, SOURCE) is None

    def test_that_is_cut_off_is_none(self, path: Path):
        path.write_bytes(path.read_bytes()[:-4])
        assert references.load(path, SOURCE) is None


class TestSource:
    def test_is_that_of_the_model_and_of_every_token(self):
        sources = {
            references.source("model", [pairs(1, 2)]),
            references.source("other model", [pairs(1, 2)]),
            references.source("model", [pairs(2, 1)]),
            references.source("model", [pairs(3)]),
        }
        assert len(sources) == 4
        assert references.source("model", [pairs(1), pairs(2)]) == SOURCE
