import errno

import pytest

from trainer import failures
from trainer.failures import TrainingFailed


class TestExplain:
    def test_a_refusal_is_told_as_it_is(self):
        failed = failures.explain(TrainingFailed("invalid_training_file", "Line 3: no.", "training_file"))
        assert (failed.code, failed.message, failed.param) == ("invalid_training_file", "Line 3: no.", "training_file")

    def test_a_full_disk_is_named(self):
        assert (
            "disk is full" in failures.explain(OSError(errno.ENOSPC, "No space left on device", "/secret/path")).message
        )

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
            RuntimeError("basic_ios::clear: iostream error"),
        ],
    )
    def test_a_full_disk_is_named_in_the_libraries_words_too(self, error: Exception):
        assert "disk is full" in failures.explain(error).message

    def test_anything_else_shows_neither_paths_nor_values(self):
        failed = failures.explain(RuntimeError("/secret/path is broken"))
        assert failed.code == "server_error"
        assert "secret" not in failed.message


class TestIsOutOfMemory:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        ],
    )
    def test_knows_the_backends_words(self, error: Exception):
        assert failures.is_out_of_memory(error)

    def test_is_false_for_others(self):
        assert not failures.is_out_of_memory(ValueError("shapes differ"))
