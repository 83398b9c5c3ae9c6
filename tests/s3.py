"""A real S3 server on a loopback socket (moto's), with a bucket for each test."""

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
from moto.server import ThreadedMotoServer

from gateway.settings import FileSettings, Secret

REGION = "us-east-1"
_numbers = itertools.count()


@dataclass(frozen=True)
class S3Server:
    url: str

    def new_bucket(self, **more: Any) -> FileSettings:
        """An empty bucket; files live under a prefix in it."""
        name = f"bucket-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        return self.settings(f"s3://{name}/some/prefix", **more)

    def settings(self, url: str, **more: Any) -> FileSettings:
        given: dict[str, Any] = {
            "url": url,
            "s3_endpoint": self.url,
            "s3_region": REGION,
            "s3_access_key_id": "AKIATEST",
            "s3_secret_access_key": Secret("secret"),
        }
        return FileSettings(**(given | more))

    def client(self) -> Any:
        """Amazon's own client."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secret",
        )

    def objects(self, settings: FileSettings) -> list[dict[str, Any]]:
        """What Amazon's own client finds in the bucket."""
        return self.client().list_objects_v2(Bucket=bucket_of(settings)).get("Contents", [])

    @contextmanager
    def checking_credentials(self) -> Generator[None]:
        """Meanwhile only credentials that the server has given out are taken, and it has given out none."""
        self._open_calls(0)
        try:
            yield
        finally:
            self._open_calls(10**9)

    def _open_calls(self, count: int) -> None:
        reset = f"{self.url}/moto-api/reset-auth"
        httpx.post(reset, content=str(count), headers={"content-type": "text/plain"}, timeout=30).raise_for_status()


def bucket_of(settings: FileSettings) -> str:
    return settings.url.split("/")[2]


@contextmanager
def running_s3() -> Generator[S3Server]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()
