"""Where contents live, from the settings: a directory of this machine or an S3-compatible bucket."""

from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from gateway.files.store import directory_of
from gateway.settings import FileSettings, SettingsError

CLIENT: Any = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "300s", "allow_http": True}
"""HTTP without TLS where the endpoint says http: it is the operator's word. A request carries at most one part (8 MB): 300 s are 0.2 Mbit/s. Silence for 30 s counts as away."""
RETRIES: Any = {"max_retries": 2}
"""The client waits for the answer, and its SDK tries again too."""


def open_store(settings: FileSettings, data_dir: Path) -> ObjectStore:
    """The place that `files.url` names; a directory is made. Nothing is connected to yet.

    Raises:
        SettingsError: the URL or what belongs to it cannot be understood.
    """
    directory = directory_of(settings, data_dir)
    return _local(directory) if directory is not None else _bucket(settings)


def _bucket(settings: FileSettings) -> S3Store:
    """Settings win over the AWS_* variables, which obstore reads by itself, as it does the machine's or pod's identity.

    The identity needs s3:ListBucket, GetObject, PutObject, DeleteObject and AbortMultipartUpload. A process that dies
    while it writes leaves an unfinished multipart upload: give the bucket a lifecycle rule that aborts those.
    """
    given = {
        "endpoint": settings.s3_endpoint,
        "region": settings.s3_region,
        "access_key_id": settings.s3_access_key_id,
        "secret_access_key": settings.s3_secret_access_key.reveal(),
        "session_token": settings.s3_session_token.reveal(),
    }
    config: Any = {name: value for name, value in given.items() if value}
    try:
        return S3Store.from_url(settings.url, config=config, client_options=CLIENT, retry_config=RETRIES)
    except (BaseError, ValueError) as error:
        raise SettingsError(f"files.url: {settings.url} cannot be used: {error}") from None


def _local(directory: Path) -> LocalStore:
    directory.mkdir(parents=True, exist_ok=True)
    return LocalStore(directory)
