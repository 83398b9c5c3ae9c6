"""The places where contents live."""

from pathlib import Path

import pytest

from gateway.files.store import FileStore
from gateway.settings import FileSettings, Settings
from tests.places import PLACES
from tests.s3 import S3Server


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of a directory, or of a bucket."""
    if request.param == "disk":
        return Settings(data_dir=tmp_path)
    s3: S3Server = request.getfixturevalue("s3")
    return Settings(data_dir=tmp_path, files=s3.new_bucket())


@pytest.fixture
def store(place: Settings) -> FileStore:
    return FileStore(place.files, place.data_dir)


@pytest.fixture
def on_disk(tmp_path: Path) -> FileStore:
    return FileStore(FileSettings(), tmp_path)
