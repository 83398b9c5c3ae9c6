"""Calls under way."""

import pytest

from gateway.routing.load import Load


class TestLoad:
    def test_counts_what_has_begun_and_not_ended(self) -> None:
        load = Load()
        load.begin("u", "a")
        load.begin("u", "b")
        load.begin("v", "a")
        assert (load.of_replica("u"), load.of_replica("v"), load.of_model("a"), load.total) == (2, 1, 2, 3)
        load.end("u", "a")
        assert (load.of_replica("u"), load.of_model("a")) == (1, 1)

    def test_keeps_nothing_of_what_is_over(self) -> None:
        load = Load()
        load.begin("u", "a")
        load.end("u", "a")
        assert (load.total, load._replicas, load._models) == (0, {}, {})
        with pytest.raises(KeyError):
            load.end("u", "a")
