"""Imported before a library: should it fetch anything from elsewhere, the application ends with status 3."""

import os
import sys
from typing import Any

LOCAL = ("127.0.0.1", "localhost", b"127.0.0.1", b"localhost")


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if host not in LOCAL:
        sys.stderr.write(f"offline: the library wants to reach {host!r}\n")
        sys.stderr.flush()
        os._exit(3)  # an exception could be caught


sys.addaudithook(_refuse)
