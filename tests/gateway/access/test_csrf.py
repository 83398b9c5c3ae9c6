"""Which pages may make a browser call us."""

import pytest

from gateway.access import csrf
from gateway.access.source import Source
from gateway.errors import Forbidden

PLAIN = Source("", "", secure=False, host="gateway.example.com")
SECURE = Source("", "", secure=True, host="gateway.example.com")
URL = "https://gateway.example.com"


def allowed(source: Source, url: str = "", *, needed: bool = True, **headers: str) -> bool:
    try:
        csrf.check_origin(
            {name.replace("_", "-"): value for name, value in headers.items()}, source, url, needed=needed
        )
    except Forbidden as refusal:
        return refusal.code != "csrf"
    return True


class TestTheOrigin:
    @pytest.mark.parametrize(
        ("source", "url", "origin", "fine"),
        [
            (PLAIN, "", "http://gateway.example.com", True),
            (PLAIN, "", "https://gateway.example.com", True),  # a proxy that is not trusted ends TLS
            (SECURE, "", "http://gateway.example.com", False),
            (SECURE, "", "https://gateway.example.com", True),
            (PLAIN, "", "http://gateway.example.com:8080", False),
            (PLAIN, "", "http://gateway.example.com.evil.example", False),
            (PLAIN, "", "null", False),
            (PLAIN, URL, "https://gateway.example.com", True),
            (PLAIN, URL + "/", "https://gateway.example.com", True),
            (PLAIN, URL, "http://gateway.example.com", False),
            (PLAIN, "https://other.example", "https://gateway.example.com", False),
        ],
    )
    def test_is_ours(self, source: Source, url: str, origin: str, fine: bool) -> None:
        assert allowed(source, url, origin=origin) is fine

    @pytest.mark.parametrize(
        ("site", "fine"),
        [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False), ("x", False)],
    )
    def test_is_what_the_browser_says(self, site: str, fine: bool) -> None:
        assert allowed(PLAIN, sec_fetch_site=site) is fine

    def test_both_must_be_ours(self) -> None:
        assert not allowed(PLAIN, sec_fetch_site="same-origin", origin="https://evil.example")
        assert not allowed(PLAIN, sec_fetch_site="cross-site", origin="http://gateway.example.com")

    def test_may_be_unknown_where_no_cookie_vouches(self) -> None:
        assert allowed(PLAIN, needed=False)
        assert not allowed(PLAIN, needed=True)
        assert not allowed(PLAIN, needed=False, origin="https://evil.example")


class TestTheToken:
    def test_is_one_for_each_session_and_key(self) -> None:
        tokens = {csrf.token_of(session, key) for session in ("a", "b") for key in ("k" * 40, "l" * 40)}
        assert len(tokens) == 4

    @pytest.mark.parametrize("token", ["", "x", "\u00e9"])
    def test_is_needed_for_changes_alone(self, token: str) -> None:
        for method in ("GET", "HEAD", "OPTIONS"):
            csrf.check(method, {"x-csrf-token": token}, "a", "k" * 40)
        for method in ("POST", "DELETE", "PUT", "PATCH"):
            with pytest.raises(Forbidden):
                csrf.check(method, {"x-csrf-token": token}, "a", "k" * 40)
        csrf.check("POST", {"x-csrf-token": csrf.token_of("a", "k" * 40)}, "a", "k" * 40)
