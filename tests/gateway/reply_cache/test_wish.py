"""The headers by which a call says what it wants of the cache."""

import pytest

from gateway.errors import InvalidRequest
from gateway.reply_cache.wish import Wish, wish_of


class TestWishOf:
    @pytest.mark.parametrize(
        ("headers", "wish"),
        [
            ([], Wish.USUAL),
            ([(b"x-tuneway-cache", b"on")], Wish.ON),
            ([(b"x-tuneway-cache", b" Off ")], Wish.OFF),
            ([(b"x-tuneway-cache", b"refresh")], Wish.REFRESH),
            ([(b"cache-control", b"no-store")], Wish.OFF),
            ([(b"cache-control", b"no-cache")], Wish.REFRESH),
            ([(b"cache-control", b"max-age=0")], Wish.REFRESH),
            ([(b"cache-control", b"no-cache, no-store")], Wish.OFF),
            ([(b"cache-control", b"max-age=60, unknown")], Wish.USUAL),
            ([(b"cache-control", b"no-store"), (b"x-tuneway-cache", b"on")], Wish.ON),
            ([(b"x-tuneway-cache", b"on"), (b"cache-control", b"no-store")], Wish.ON),
        ],
    )
    def test_what_is_said(self, headers: list[tuple[bytes, bytes]], wish: Wish) -> None:
        assert wish_of(headers) is wish

    @pytest.mark.parametrize("word", [b"", b"yes", b"usual", b"\xff", b"on, off"])
    def test_another_word_is_refused(self, word: bytes) -> None:
        with pytest.raises(InvalidRequest, match="on, off or refresh"):
            wish_of([(b"x-tuneway-cache", word)])
