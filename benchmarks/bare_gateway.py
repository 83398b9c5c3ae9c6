"""A gateway that does nothing but pass calls on: what the goals of benchmarks/gateway.py were set by.

    .venv/bin/python -m benchmarks.bare_gateway --url http://127.0.0.1:9100/v1 [--port 9101]

A bare `asyncio.Protocol` over httptools (benchmarks/servers.py) and our client to the upstream (gateway/upstreams/http): no key, route,
budget, limit, price, log, metric or time limit; it reads no body, keeps to nothing and ends with its process.
"""

import argparse
import asyncio
import sys

import uvloop

from benchmarks.servers import Bare
from benchmarks.upstream import chunk
from gateway.settings import TimeoutSettings
from gateway.upstreams.client import UpstreamClient, Way

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n\r\n"
WAY = Way({"authorization": "Bearer sk-benchmark"})


class Passing(Bare):
    """One connection. Args: url: of chat completions."""

    def __init__(self, client: UpstreamClient, url: str) -> None:
        super().__init__()
        self._client, self._url = client, url

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    async def answer(self) -> None:
        reply = await self._client.post("bare", self._url, b"".join(self.pieces), request_id="req_1", way=WAY)
        if reply.is_stream:
            self.transport.write(HEAD % (b"text/event-stream", b"transfer-encoding: chunked"))
            async for piece in reply.chunks():
                self.transport.write(chunk(piece))
            self.transport.write(b"0\r\n\r\n")
        else:
            whole = await reply.read()
            self.transport.write(HEAD % (b"application/json", b"content-length: %d" % len(whole)) + whole)


async def serve(url: str, port: int) -> None:
    client = UpstreamClient(TimeoutSettings())
    server = await asyncio.get_running_loop().create_server(
        lambda: Passing(client, f"{url}/chat/completions"), "127.0.0.1", port
    )
    await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--port", type=int, default=9101)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.url, arguments.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
