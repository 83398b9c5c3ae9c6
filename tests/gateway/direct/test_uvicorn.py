"""What gateway/direct.py takes for granted of uvicorn. A new version of it that changes any of this is read before it is used.

Where one of these fails: read the difference between the two versions of that function, see to it that gateway/direct.py still
does what it overrides or calls (docs/decisions/0019), run the tests of this directory, and note the new hash.
"""

import hashlib
import inspect

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from gateway.direct import DirectCall, DirectProtocol

READ: dict[type, dict[str, str]] = {
    HttpToolsProtocol: {
        "__init__": "4f08999410347141",
        "connection_made": "6efb565ff3d36b91",
        "connection_lost": "c91a4c9bf2e29c55",
        "_unset_keepalive_if_required": "00a6a4e47214e68e",
        "data_received": "010a7ae59a5d3b1a",
        "on_message_begin": "96d377fdc7c2baef",
        "on_url": "37be44e962b04ca8",
        "on_header": "65d62c044f61fdbd",
        "on_headers_complete": "1ea8589acfad92d8",
        "on_body": "dba9c32aeba35b6a",
        "on_message_complete": "1fbad42dc31fc01f",
        "on_response_complete": "64e254f28e389e76",
        "_start_asgi_task": "9c08c2571ae9b038",
        "shutdown": "d7351fa33f00d430",
        "pause_writing": "17a8fd215d96a13c",
        "resume_writing": "7844bbaa8cceb1ef",
        "timeout_keep_alive_handler": "8b53bf5f2e202970",
    },
    RequestResponseCycle: {
        "__init__": "4d2f220910c33c12",
        "run_asgi": "0f33f2449a444bc2",
        "send": "abdd8601b326a8da",
        "receive": "8124ae006be71184",
    },
    Server: {
        "startup": "2aa1d70a244bfcf2",
        "on_tick": "60ea49b06ccf68c1",
        "shutdown": "9b33c50562992b1e",
        "_wait_tasks_to_complete": "17209be1e991445d",
        "capture_signals": "e1bbcd4770d1c887",
    },
    FlowControl: {
        "": "126debcdaa894c83",
    },
    ServerState: {
        "": "f2260fbf10154746",
    },
}
"""Methods as they were read: hash of their source; "" is the whole class."""
OVERRIDDEN = {
    "__init__", "connection_made", "connection_lost", "data_received", "on_message_begin", "on_header", "on_headers_complete",
    "on_body", "on_message_complete", "on_response_complete", "_start_asgi_task", "pause_writing", "resume_writing", "timeout_keep_alive_handler",
}  # fmt: skip
CYCLE = {"disconnected", "message_event", "keep_alive", "response_complete"}
"""What uvicorn's protocol and server use of a cycle that they have not made themselves."""


CASES = [(owner, name, hash) for owner, methods in READ.items() for name, hash in methods.items()]


@pytest.mark.parametrize(("owner", "name", "hash"), CASES, ids=[f"{owner.__name__}.{name}" for owner, name, _ in CASES])
def test_is_as_it_was_read(owner: type, name: str, hash: str) -> None:
    source = inspect.getsource(getattr(owner, name) if name else owner)
    found = hashlib.sha256(source.encode()).hexdigest()[:16]
    assert found == hash, f"{owner.__name__}.{name} of uvicorn {uvicorn.__version__} is another"


def test_overrides_what_was_read_and_nothing_else() -> None:
    ours = {name for name in vars(DirectProtocol) if hasattr(HttpToolsProtocol, name)}
    assert ours - {"__module__", "__doc__", "__firstlineno__", "__static_attributes__"} == OVERRIDDEN
    assert READ[HttpToolsProtocol].keys() >= OVERRIDDEN


def test_nothing_else_looks_at_a_cycle() -> None:
    """A DirectCall stands in for one."""
    source = inspect.getsource(HttpToolsProtocol) + inspect.getsource(Server)
    for name in ("cycle", "existing_cycle"):
        used = {part.split("(")[0] for part in _attributes(source, name)}
        assert used <= CYCLE | {"run_asgi", "body", "more_body"}, name  # the last three of those that it has made
    assert all(hasattr(DirectCall, name) or name in inspect.getsource(DirectCall.__init__) for name in CYCLE)


def _attributes(source: str, name: str) -> set[str]:
    pieces = source.replace(f"self.{name}.", f"{name}.").split(f"{name}.")[1:]
    return {"".join(letter if letter.isidentifier() else " " for letter in piece).split()[0] for piece in pieces}


def test_status_lines() -> None:
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINE[431] == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
