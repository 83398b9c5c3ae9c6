"""Is a server there, and is a port free? On bare sockets: nothing to import, nothing to close but the socket."""

import asyncio
import errno
import socket

from deploy.parts import StackError

LOOPBACK = "127.0.0.1"
PROBE_SECONDS = 5.0
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - what to call instead


async def answers_ok(host: str, port: int, path: str) -> bool:
    """Whether GET `path` is answered by status 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
    return await _status(host, port, request, PROBE_SECONDS) == 200


async def takes(host: str, port: int, path: str, body: bytes, *, api_key: str, seconds: float) -> bool:
    """Whether POST `path` with a JSON body is answered within so many seconds, by anything but a server's failure."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nAuthorization: Bearer {api_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    status = await _status(host, port, head.encode() + body, seconds)
    return status is not None and status < 500


async def _status(host: str, port: int, request: bytes, seconds: float) -> int | None:
    """None when nobody answers, or not by HTTP."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(callable_host(host), port)
            try:
                writer.write(request)
                words = (await reader.readline()).split(b" ", 2)
                return int(words[1]) if len(words) > 1 else None
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, ValueError, TimeoutError):
        return None


def callable_host(host: str) -> str:
    """The address to call a server that listens on `host`."""
    return EVERY_ADDRESS.get(host, host)


def url_of(host: str, port: int) -> str:
    """`http://127.0.0.1:8000`, for calling a server that listens on `host`."""
    called = callable_host(host)
    return f"http://[{called}]:{port}" if ":" in called else f"http://{called}:{port}"


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_port(host: str, port: int) -> None:
    """Raises StackError when a server could not listen there."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StackError(f"The host {host} is not known ({error.strerror}): choose another with --host.") from error
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if (refusal := _refusal(error, host, port)) is not None:
                raise StackError(refusal) from error


def _refusal(error: OSError, host: str, port: int) -> str | None:
    """None for what concerns one address family alone: IPv6 switched off."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"Port {port} on {host} is in use by another program: stop it, or choose another with --port."
        case errno.EACCES | errno.EPERM:
            return f"Port {port} on {host} may not be used by this user: choose one above 1023 with --port."
        case _:
            return None
