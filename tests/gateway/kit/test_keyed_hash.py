"""Keyed hashes: one for each value, key and purpose."""

from itertools import product

from gateway.kit.keyed_hash import keyed_hash


class TestKeyedHash:
    def test_differs_by_value_key_and_purpose(self) -> None:
        every = list(product(("a", "b", "\u00e9"), ("k" * 40, "l" * 40), ("session", "invite")))
        hashes = {keyed_hash(*each) for each in every}
        assert len(hashes) == len(every)
        assert {len(each) for each in hashes} == {32}

    def test_is_the_same_everywhere(self) -> None:
        assert keyed_hash("a", "k" * 40, "session") == keyed_hash("a", "k" * 40, "session")
        assert keyed_hash("a", "k" * 64, "session") == keyed_hash("a", "k" * 80, "session")
