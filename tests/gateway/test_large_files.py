"""Large files through a real gateway process: its memory, and clients that leave in the middle."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.gateway.conftest import RunningGateway, StartGateway
from tests.s3 import S3Server

pytestmark = pytest.mark.slow

MB = 1024 * 1024
SIZE = 128 * MB
GROWTH = 80 * MB
"""Much less than passes: two parts of 8 MB, a piece being read and the allocator's slack."""


@pytest.fixture(scope="module", params=["disk", "s3"])
def gateway(request: pytest.FixtureRequest, start_gateway: StartGateway) -> RunningGateway:
    if request.param == "disk":
        return start_gateway()
    s3: S3Server = request.getfixturevalue("s3")
    files = s3.new_bucket()
    return start_gateway(
        files__url=files.url,
        files__s3_endpoint=files.s3_endpoint,
        files__s3_access_key_id=files.s3_access_key_id,
        files__s3_secret_access_key=files.s3_secret_access_key.reveal(),
    )


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {gateway.key['value']}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=120) as client:
        yield client


class Growth:
    """Watches the resident memory of all processes of a gateway: `with Growth(gateway) as growth: ...; growth.peak`."""

    def __init__(self, gateway: RunningGateway) -> None:
        first = psutil.Process(gateway.pid)
        self._processes = [first, *first.children(recursive=True)]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before = self.peak = 0

    def __enter__(self) -> "Growth":
        self._before = self._now()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _now(self) -> int:
        return sum(process.memory_info().rss for process in self._processes)

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.peak = max(self.peak, self._now() - self._before)


def form(field: str, size: int, **fields: str) -> tuple[Iterator[bytes], dict[str, str]]:
    """A form with `size` bytes in its file, made while it is sent; and its headers."""

    def body() -> Iterator[bytes]:
        for name, value in fields.items():
            yield f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        yield f'--b\r\ncontent-disposition: form-data; name="{field}"; filename="a"\r\n\r\n'.encode()
        for _ in range(size // MB):
            yield b"x" * MB
        yield b"\r\n--b--\r\n"

    return body(), {"content-type": "multipart/form-data; boundary=b"}


def send(client: httpx.Client, path: str, field: str, size: int, **fields: str) -> dict[str, Any]:
    body, headers = form(field, size, **fields)
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestMemory:
    def test_a_file_is_not_held_in_memory(self, gateway: RunningGateway, client: httpx.Client) -> None:
        send(client, "/v1/files", "file", 24 * MB, purpose="user_data")  # what every process grows by once
        with Growth(gateway) as growth:
            made = send(client, "/v1/files", "file", SIZE, purpose="user_data")
        assert made["bytes"] == SIZE
        assert growth.peak < GROWTH
        received = 0
        with Growth(gateway) as growth, client.stream("GET", f"/v1/files/{made['id']}/content") as answer:
            for piece in answer.iter_bytes():
                received += len(piece)
        assert received == SIZE
        assert growth.peak < GROWTH

    def test_neither_are_parts_nor_what_they_make(self, gateway: RunningGateway, client: httpx.Client) -> None:
        announced = {"filename": "a", "purpose": "user_data", "bytes": SIZE, "mime_type": "text/plain"}
        upload = client.post("/v1/uploads", json=announced).json()
        url = f"/v1/uploads/{upload['id']}"
        send(client, f"{url}/parts", "data", 24 * MB)
        with Growth(gateway) as growth:
            ids = [send(client, f"{url}/parts", "data", SIZE // 2)["id"] for _ in range(2)]
            done = client.post(f"{url}/complete", json={"part_ids": ids}).json()
        assert done["file"]["bytes"] == SIZE
        assert growth.peak < GROWTH


class TestLeaving:
    def test_in_the_middle_of_a_body_is_no_error(self, start_gateway: StartGateway) -> None:
        gateway = start_gateway()
        headers = {"authorization": f"Bearer {gateway.key['value']}"}
        announced = {"filename": "a", "purpose": "user_data", "bytes": SIZE, "mime_type": "text/plain"}
        with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as client:
            upload = client.post("/v1/uploads", json=announced).json()["id"]
            for field, path in (("file", "/v1/files"), ("data", f"/v1/uploads/{upload}/parts")):
                body, form_headers = form(field, 12 * MB, purpose="user_data")
                cut = b"".join(body)[: 11 * MB]
                leave_in_the_middle(gateway, path, cut, form_headers["content-type"])
            leave_in_the_middle(gateway, "/v1/uploads", b'{"filename": ', "application/json")
            assert client.get("/v1/files").json()["data"] == []
        gateway.stop()  # which waits for calls on their way
        assert "Traceback" not in gateway.log
        assert "ERROR" not in gateway.log
        assert "failed" not in gateway.log
        assert list((gateway.directory / "blobs").iterdir()) == []


class TestKilled:
    def test_completing_begins_anew_and_nothing_was_visible(self, start_gateway: StartGateway) -> None:
        gateway = start_gateway()
        headers = {"authorization": f"Bearer {gateway.key['value']}"}
        announced = {"filename": "a", "purpose": "user_data", "bytes": 180 * MB, "mime_type": "text/plain"}
        with httpx.Client(base_url=gateway.url, headers=headers, timeout=60) as client:
            url = f"/v1/uploads/{client.post('/v1/uploads', json=announced).json()['id']}"
            ids = [send(client, f"{url}/parts", "data", 60 * MB)["id"] for _ in range(3)]
        completing = threading.Thread(target=complete, args=(gateway.url, headers, url, ids))
        completing.start()
        blobs = gateway.directory / "blobs"
        while not list(blobs.glob("file-*#*")):
            assert completing.is_alive()
        gateway.kill()
        completing.join()
        assert len(list(blobs.glob("file-*#*"))) == 1
        gateway.start()
        with httpx.Client(base_url=gateway.url, headers=headers, timeout=60) as client:
            assert client.get("/v1/files").json()["data"] == []
            done = complete(gateway.url, headers, url, ids)
            assert done is not None
            assert done["file"]["bytes"] == 180 * MB
            assert [each["id"] for each in client.get("/v1/files").json()["data"]] == [done["file"]["id"]]


def complete(gateway_url: str, headers: dict[str, str], url: str, ids: list[str]) -> dict[str, Any] | None:
    """None when the gateway goes away meanwhile."""
    try:
        answer = httpx.post(f"{gateway_url}{url}/complete", json={"part_ids": ids}, headers=headers, timeout=60)
    except httpx.TransportError:
        return None
    return answer.json()


def leave_in_the_middle(gateway: RunningGateway, path: str, body: bytes, content_type: str) -> None:
    """Announce more than is sent, and hang up."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {gateway.key['value']}\r\n"
        f"content-type: {content_type}\r\ncontent-length: {len(body) * 2}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
