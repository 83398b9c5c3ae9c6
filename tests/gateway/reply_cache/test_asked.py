"""What two calls must have in common to be the same question."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reply_cache.asked import SAID_BESIDE, canonical, is_greedy

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
REQUESTS = st.dictionaries(st.text(), JSON, max_size=5)


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(name, shuffled(each, chance)) for name, each in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [shuffled(each, chance) for each in value] if isinstance(value, list) else value


def written(value: Any, **how: Any) -> bytes:
    return json.dumps(value, **how).encode(errors="surrogatepass")


def same(request: bytes) -> bytes | None:
    return canonical(request, who_asks=False)


class TestCanonical:
    @given(request=REQUESTS, chance=st.randoms(use_true_random=False))
    def test_order_whitespace_and_escapes_make_no_difference(self, request: Any, chance: random.Random) -> None:
        told = same(written(request))
        assert told is not None
        assert same(written(shuffled(request, chance), indent=2, ensure_ascii=False)) == told

    @given(request=REQUESTS, beside=st.dictionaries(st.sampled_from(sorted(SAID_BESIDE)), JSON))
    def test_what_is_said_beside_makes_no_difference(self, request: Any, beside: Any) -> None:
        plain = {name: value for name, value in request.items() if name not in SAID_BESIDE}
        assert same(written(plain | beside)) == same(written(plain))

    @given(one=REQUESTS, other=REQUESTS)
    def test_different_questions_are_never_the_same(self, one: Any, other: Any) -> None:
        left, right = ({n: v for n, v in each.items() if n not in SAID_BESIDE} for each in (one, other))
        if json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True):
            assert same(written(one)) != same(written(other))

    @given(request=REQUESTS)
    def test_it_says_what_was_asked(self, request: Any) -> None:
        plain = {name: value for name, value in request.items() if name not in SAID_BESIDE}
        assert msgspec.json.decode(same(written(request)) or b"") == msgspec.json.decode(written(plain))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (b"0.1", b"0.10000000000000000001"),
            (b"18446744073709551616", b"18446744073709551617"),
            (b"1", b'"1"'),
            (b"1", b"true"),
            (b"0.5", b'"0.5"'),
            (b"null", b"[]"),
            (b'{"a": {"user": 1}}', b'{"a": {}}'),
        ],
    )
    def test_numbers_are_not_rounded_and_kinds_are_told_apart(self, one: bytes, other: bytes) -> None:
        assert same(b'{"x": %b}' % one) != same(b'{"x": %b}' % other)

    def test_who_asks_can_count(self) -> None:
        ann, bob = b'{"user": "ann", "stream": true}', b'{"user": "bob"}'
        assert canonical(ann, who_asks=True) != canonical(bob, who_asks=True)
        assert canonical(ann, who_asks=True) == canonical(b'{"user": "ann"}', who_asks=True)

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"{", b'{"x": "\\ud800"}', b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
    )
    def test_what_cannot_be_written_so_is_no_question(self, body: bytes) -> None:
        assert same(body) is None


class TestIsGreedy:
    @pytest.mark.parametrize("temperature", [b"0", b"0.0", b"-0", b"0e5"])
    def test_temperature_0(self, temperature: bytes) -> None:
        assert is_greedy(b'{"model": "m", "temperature": %b}' % temperature)

    @pytest.mark.parametrize(
        "body", [b"{}", b'{"temperature": null}', b'{"temperature": "0"}', b'{"temperature": 0.001}', b"["]
    )
    def test_nothing_else(self, body: bytes) -> None:
        assert not is_greedy(body)
