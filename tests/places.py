"""The places where contents of files live: a directory, and a bucket of a real S3 server."""

import msgspec
import obstore
import pytest

from gateway.files.buckets import open_store
from gateway.settings import Settings

PLACES = ("disk", "s3")
"""Parameters of a `settings` fixture."""


def with_files(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """`settings` with the place that the fixture's parameter names."""
    if request.param == "disk":
        return settings
    return msgspec.structs.replace(settings, files=request.getfixturevalue("s3").new_bucket())


async def blobs(settings: Settings) -> list[str]:
    """What is there."""
    store = open_store(settings.files, settings.data_dir)
    return sorted([each["path"] async for batch in obstore.list(store) for each in batch])
