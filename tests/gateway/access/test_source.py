"""Where a call came from, and which proxies are believed."""

import pytest

from gateway.access.source import Source, believed

PROXIES = ("10.0.0.0/8", "2001:db8::/32")


def client(peer: str, forwarded: str = "", trusted: tuple[str, ...] = PROXIES) -> str:
    return believed(peer, "http", forwarded, "", trusted=trusted)[0]


class TestTheAddress:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "expected"),
        [
            ("192.0.2.1", "", "192.0.2.1"),
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.2.3.4", "198.51.100.7"),
            ("10.0.0.1", "10.9.9.9, 10.2.3.4", "10.9.9.9"),
            ("10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"),
            ("10.0.0.1", "nonsense, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("2001:db8::1", "2001:db9::5", "2001:db9::5"),
            ("", "198.51.100.7", ""),
        ],
    )
    def test_is_the_last_that_is_no_proxy_of_ours(self, peer: str, forwarded: str, expected: str) -> None:
        assert client(peer, forwarded) == expected

    def test_nobody_is_believed_by_default(self) -> None:
        assert client("10.0.0.1", "198.51.100.7", ()) == "10.0.0.1"


class TestTheScheme:
    @pytest.mark.parametrize(
        ("peer", "scheme", "proto", "expected"),
        [
            ("192.0.2.1", "http", "https", False),
            ("10.0.0.1", "http", "https", True),
            ("10.0.0.1", "http", "http, https", True),
            ("10.0.0.1", "http", "https, http", False),
            ("10.0.0.1", "https", "", True),
            ("10.0.0.1", "http", "", False),
        ],
    )
    def test_is_what_a_proxy_of_ours_says(self, peer: str, scheme: str, proto: str, expected: bool) -> None:
        assert believed(peer, scheme, "", proto, trusted=PROXIES)[1] is expected


class TestWhatIsCountedAsOne:
    @pytest.mark.parametrize(
        ("address", "network"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
            ("", ""),
        ],
    )
    def test_is_an_address_or_a_household(self, address: str, network: str) -> None:
        assert Source(address, "", secure=False, host="").network == network
