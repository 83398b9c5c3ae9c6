"""Where a call came from: for the audit log, for locks, and for the Secure attribute of cookies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

USER_AGENT_LENGTH = 200
IPV6_PREFIX = 64
"""What one household or machine usually has; single IPv6 addresses are free to change within it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who is at the other end, as far as it can be believed."""

    ip_address: str
    """Empty for a socket of this machine."""
    user_agent: str
    secure: bool
    """The browser's connection was https."""
    host: str
    """As the Host header says: the authority of the URL that the browser shows."""

    @property
    def network(self) -> str:
        """What is counted as one: an IPv4 address, or the /64 of an IPv6 address."""
        address = _address(self.ip_address)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
            return str(ip_network(f"{address}/{IPV6_PREFIX}", strict=False))
        return self.ip_address

    @property
    def origin(self) -> str:
        """As browsers write it."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


def believed(
    peer: str, scheme: str, forwarded_for: str, forwarded_proto: str, *, trusted: tuple[str, ...]
) -> tuple[str, bool]:
    """The client's address, and whether it came by https.

    Each proxy appends the address that it saw (RFC 7239 section 5.2 describes the same list), so the list is read from
    its end: the first address that is not one of our proxies is the client; whatever stands before it, anybody wrote.
    """
    address, secure = peer, scheme == "https"
    if not _is_trusted(peer, trusted):
        return address, secure
    if forwarded_proto:
        secure = forwarded_proto.rsplit(",", 1)[-1].strip().lower() == "https"
    for hop in _hops(forwarded_for):
        address = hop
        if not _is_trusted(hop, trusted):
            break
    return address, secure


def _hops(forwarded_for: str) -> Iterator[str]:
    """From the nearest on; what is no address ends the list."""
    for hop in reversed(forwarded_for.split(",")):
        if (address := _address(hop.strip())) is None:
            return
        yield str(address)


def _is_trusted(address: str, trusted: tuple[str, ...]) -> bool:
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in _networks(trusted))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4)
def _networks(trusted: tuple[str, ...]) -> Sequence[IPv4Network | IPv6Network]:
    return [ip_network(each) for each in trusted]
