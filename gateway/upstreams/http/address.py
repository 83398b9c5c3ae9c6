"""Where a request goes: a URL taken apart, and the proxy on the way."""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

PORTS = {"http": 80, "https": 443}
SAFE = "/:@!$&'()*+,;=~%?-._"
"""What stays as it is in a path with its query (RFC 3986, section 3.3 and 3.4)."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy."""

    host: str
    port: int
    tls: bool
    authorization: str = field(default="", repr=False)
    """The value of `proxy-authorization`."""


class Address(NamedTuple):
    """A server, and the way to it. Connections are kept by it."""

    host: str
    port: int
    tls: bool
    proxy: Proxy | None = None

    @property
    def authority(self) -> str:
        """As `CONNECT` wants it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def tunneled(self) -> bool:
        return self.tls and self.proxy is not None


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for, and where."""

    address: Address
    path: str
    """As it stands in the first line of a request: the whole URL where a proxy is asked for http."""
    fields: Mapping[str, str] = field(repr=False, hash=False)
    """Headers that every request to it has, unless it has its own: `host`, and the passwords of the URL and of the proxy."""


@lru_cache(4096)
def target_of(url: str, proxy: str | None = None) -> Target:
    """A URL of http or https; without a proxy of its own, the one that the environment names for it (`HTTPS_PROXY`,
    `HTTP_PROXY`, `NO_PROXY`), never for this machine's own addresses.

    Raises ValueError: there is no host, or another scheme.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode()
    if parts.scheme not in PORTS or not host:
        raise ValueError("a URL needs http or https, and a host")
    way = proxy or _of_environment(parts.scheme, host)
    address = Address(host, parts.port or PORTS[parts.scheme], parts.scheme == "https", _proxy(way) if way else None)
    plain = address.authority if parts.port else address.authority.rpartition(":")[0]
    path = quote(parts.path or "/", safe=SAFE) + (f"?{quote(parts.query, safe=SAFE)}" if parts.query else "")
    fields = {"host": plain}
    if own := _password(parts):
        fields["authorization"] = own
    if address.proxy is None or address.tls:
        return Target(address, path, fields)
    return Target(address, f"http://{plain}{path}", fields | _authorization(address.proxy))


def tunnel_of(address: Address) -> Target:
    """The request that has a proxy open the way to `address`."""
    assert address.proxy is not None
    return Target(address, address.authority, {"host": address.authority} | _authorization(address.proxy))


def lines(fields: Mapping[str, str]) -> str:
    """Headers as they are sent. Raises ValueError: one of them would end its line."""
    written = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
    if written.count("\n") != len(fields) or written.count("\r") != len(fields):
        raise ValueError("a header has a line break")
    return written


def _authorization(proxy: Proxy) -> dict[str, str]:
    return {"proxy-authorization": proxy.authorization} if proxy.authorization else {}


def _proxy(url: str) -> Proxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("a proxy's URL needs http or https, and a host")
    return Proxy(parts.hostname, parts.port or PORTS[parts.scheme], parts.scheme == "https", _password(parts))


def _password(parts: SplitResult) -> str:
    if parts.username is None:
        return ""
    said = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(said.encode()).decode()}"


def _of_environment(scheme: str, host: str) -> str | None:
    if _is_here(host) or proxy_bypass(host):
        return None
    return getproxies().get(scheme)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
