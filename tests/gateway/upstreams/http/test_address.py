"""URLs taken apart, and which proxy they go through."""

import pytest

from gateway.upstreams.http.address import Address, Proxy, lines, target_of, tunnel_of


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    target_of.cache_clear()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class TestTargetOf:
    @pytest.mark.parametrize(
        ("url", "address", "path", "host"),
        [
            ("http://a.example/v1/x", Address("a.example", 80, False), "/v1/x", "a.example"),
            ("https://a.example", Address("a.example", 443, True), "/", "a.example"),
            ("https://a.example:8443/v1?b=c d", Address("a.example", 8443, True), "/v1?b=c%20d", "a.example:8443"),
            ("http://[::1]:9/v1", Address("::1", 9, False), "/v1", "[::1]:9"),
            ("http://[::1]/v1", Address("::1", 80, False), "/v1", "[::1]"),
            (
                "https://bücher.example/é",
                Address("xn--bcher-kva.example", 443, True),
                "/%C3%A9",
                "xn--bcher-kva.example",
            ),
            ("https://a.example/m/a%2Fb", Address("a.example", 443, True), "/m/a%2Fb", "a.example"),
        ],
    )
    def test_takes_a_url_apart(self, url: str, address: Address, path: str, host: str) -> None:
        target = target_of(url)
        assert (target.address, target.path, target.fields) == (address, path, {"host": host})

    @pytest.mark.parametrize(
        "url", ["", "no url", "http://", "ftp://a.example", "http://a.example:port", "//a.example"]
    )
    def test_refuses_what_is_none(self, url: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 the caller shows no text of it
            target_of(url)

    def test_a_password_of_the_url_is_sent(self) -> None:
        target = target_of("http://ada:p%40ss@a.example/v1")
        assert target.fields == {"host": "a.example", "authorization": "Basic YWRhOnBAc3M="}
        assert "YWRh" not in repr(target)

    def test_a_line_break_in_a_url_cannot_begin_a_header(self) -> None:
        target = target_of("http://a.example/v1\r\nx: y")
        assert "\r" not in target.path
        assert "\n" not in target.path


class TestProxies:
    def test_http_asks_for_the_whole_url_and_says_the_password(self) -> None:
        target = target_of("http://a.example/v1", "http://team:p%40ss@proxy:3128")
        assert target.address.proxy == Proxy("proxy", 3128, False, "Basic dGVhbTpwQHNz")
        assert target.path == "http://a.example/v1"
        assert target.fields == {"host": "a.example", "proxy-authorization": "Basic dGVhbTpwQHNz"}

    def test_https_tells_the_password_to_the_proxy_alone(self) -> None:
        target = target_of("https://a.example/v1", "http://team:p%40ss@proxy:3128")
        assert (target.path, target.fields, target.address.tunneled) == ("/v1", {"host": "a.example"}, True)
        tunnel = tunnel_of(target.address)
        assert tunnel.path == "a.example:443"
        assert tunnel.fields == {"host": "a.example:443", "proxy-authorization": "Basic dGVhbTpwQHNz"}

    def test_no_text_shows_the_password(self) -> None:
        assert "dGVhb" not in repr(target_of("https://a.example/v1", "http://team:p%40ss@proxy:3128").address)

    def test_the_environment_names_one_for_each_scheme(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://secure:1")
        monkeypatch.setenv("http_proxy", "plain:2")
        monkeypatch.setenv("NO_PROXY", "inside.example,10.0.0.5")
        assert target_of("https://a.example").address.proxy == Proxy("secure", 1, False)
        assert target_of("http://a.example").address.proxy == Proxy("plain", 2, False)
        assert target_of("https://b.inside.example").address.proxy is None
        assert target_of("http://10.0.0.5").address.proxy is None
        assert target_of("https://a.example", "http://own:3").address.proxy == Proxy("own", 3, False)

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "a.localhost"])
    def test_never_for_this_machine(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
        assert target_of(f"http://{host}:8000").address.proxy is None


class TestLines:
    def test_one_a_header(self) -> None:
        assert lines({"host": "a.example", "x": "y z"}) == "host: a.example\r\nx: y z\r\n"

    @pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\n", "\r\n"])
    def test_none_ends_its_line(self, value: str) -> None:
        for fields in ({"x": value}, {value: "x"}):
            with pytest.raises(ValueError, match="line break"):
                lines(fields)
