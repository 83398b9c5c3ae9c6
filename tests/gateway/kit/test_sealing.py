"""What is sealed opens with its key, at its place, unchanged; and nothing else does."""

import base64
import os
from dataclasses import replace

import pytest

from gateway.kit.sealing import CannotOpen, NoKey, Place, Sealer, key_id, read_keys

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
PLACE = Place("upstreams", "upstream_1", "key")
SECRET = "sk-very-secret-é"


class TestSealer:
    def test_opens_what_it_sealed(self) -> None:
        sealer = Sealer([OLD])
        assert sealer.open(sealer.seal(SECRET, PLACE), PLACE) == SECRET

    def test_the_secret_does_not_show(self) -> None:
        assert b"secret" not in Sealer([OLD]).seal(SECRET, PLACE)

    def test_the_same_secret_never_looks_the_same(self) -> None:
        sealer = Sealer([OLD])
        assert len({sealer.seal(SECRET, PLACE) for _ in range(100)}) == 100

    def test_an_empty_secret(self) -> None:
        sealer = Sealer([OLD])
        assert sealer.open(sealer.seal("", PLACE), PLACE) == ""

    def test_a_change_of_any_bit_is_noticed(self) -> None:
        sealer = Sealer([OLD, NEW])
        sealed = sealer.seal(SECRET, PLACE)
        for number in range(len(sealed)):
            for bit in range(8):
                changed = bytearray(sealed)
                changed[number] ^= 1 << bit
                with pytest.raises(CannotOpen):
                    sealer.open(bytes(changed), PLACE)

    def test_so_is_a_missing_or_an_added_byte(self) -> None:
        sealer = Sealer([OLD])
        sealed = sealer.seal(SECRET, PLACE)
        for length in range(len(sealed)):
            with pytest.raises(CannotOpen):
                sealer.open(sealed[:length], PLACE)
        with pytest.raises(CannotOpen):
            sealer.open(sealed + b"\0", PLACE)

    @pytest.mark.parametrize(
        "elsewhere",
        [
            replace(PLACE, table="models"),
            replace(PLACE, row="upstream_2"),
            replace(PLACE, field="headers"),
            Place("upstreams", "upstream_1k", "ey"),
            Place("upstream", "supstream_1", "key"),
        ],
    )
    def test_a_value_that_was_moved_does_not_open(self, elsewhere: Place) -> None:
        sealer = Sealer([OLD])
        with pytest.raises(CannotOpen, match="moved here from another place"):
            sealer.open(sealer.seal(SECRET, PLACE), elsewhere)

    def test_a_key_cannot_be_passed_off_as_another(self) -> None:
        """The id of the key is authenticated, too."""
        sealed = Sealer([OLD]).seal(SECRET, PLACE)
        forged = sealed[:1] + key_id(NEW) + sealed[9:]
        with pytest.raises(CannotOpen, match="changed"):
            Sealer([OLD, NEW]).open(forged, PLACE)


class TestKeys:
    def test_without_one_nothing_is_sealed_or_opened(self) -> None:
        assert not Sealer()
        with pytest.raises(NoKey, match="no encryption key"):
            Sealer().seal(SECRET, PLACE)
        with pytest.raises(CannotOpen, match="no encryption key"):
            Sealer().open(Sealer([OLD]).seal(SECRET, PLACE), PLACE)

    def test_a_missing_one_is_named_by_its_id(self) -> None:
        with pytest.raises(CannotOpen, match=f"the key {key_id(OLD).hex()}, which is not among"):
            Sealer([OTHER]).open(Sealer([OLD]).seal(SECRET, PLACE), PLACE)

    def test_the_first_seals_and_all_open(self) -> None:
        before, between, after = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])
        sealed = before.seal(SECRET, PLACE)
        assert between.open(sealed, PLACE) == SECRET
        assert (before.is_current(sealed), between.is_current(sealed)) == (True, False)
        resealed = between.seal(SECRET, PLACE)
        assert between.is_current(resealed)
        assert after.open(resealed, PLACE) == SECRET
        with pytest.raises(CannotOpen):
            after.open(sealed, PLACE)


class TestReadKeys:
    def test_base64_and_hexadecimal(self) -> None:
        key = bytes(range(224, 256))
        ways = [
            key.hex(),
            key.hex().upper(),
            base64.b64encode(key).decode(),
            base64.urlsafe_b64encode(key).decode(),
            base64.b64encode(key).decode().rstrip("="),
        ]
        assert [read_keys(way) for way in ways] == [(key,)] * len(ways)

    def test_any_32_bytes(self) -> None:
        for _ in range(200):
            key = os.urandom(32)
            assert read_keys(base64.b64encode(key).decode()) == (key,)

    def test_several(self) -> None:
        text = f"{OLD.hex()}\n  {base64.b64encode(NEW).decode()} , {OTHER.hex()}\r\n\n"
        assert read_keys(text) == (OLD, NEW, OTHER)

    def test_none(self) -> None:
        assert read_keys(" \n") == ()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("c2hvcnQ=", "key 1 has 5 bytes where 32 are needed"),
            (OLD.hex()[:-2], "key 1 has 46 bytes where 32 are needed"),
            (f"{OLD.hex()} {NEW.hex()}00", "key 2 has 49 bytes where 32 are needed"),
            ("correct horse!", "key 1 has 5 bytes"),
            ("a-pass-phrase-of-somebody!", "key 1 is neither base64 nor hexadecimal"),
            ("z" * 64, "key 1 is neither base64 nor hexadecimal"),
            ("ключ", "key 1 is neither base64 nor hexadecimal"),
        ],
    )
    def test_what_is_no_key_is_named_and_not_shown(self, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message) as raised:
            read_keys(text)
        assert "openssl rand -base64 32" in str(raised.value)
        assert text not in str(raised.value)
