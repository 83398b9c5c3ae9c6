"""The replicas of the engine, as a worker reaches them."""

from pathlib import Path, PurePath, PurePosixPath

from gateway.fine_tuning.publish import DIRECTORY
from gateway.services import WorkerServices
from gateway.serving.watch import Watch
from gateway.settings import Settings
from gateway.upstreams.engine import Engine

MIRROR_SECONDS = 0.4
"""After this long every gateway process has seen a change (gateway/db/mirror.py polls four times a second)."""


def engine_at(wv: WorkerServices, url: str) -> Engine:
    return Engine(wv.upstreams, url, wv.settings.engine.api_key.reveal())


def watch_of(wv: WorkerServices, url: str) -> Watch:
    return wv.watches.setdefault(url, Watch())


def engine_path(settings: Settings, adapter_path: str) -> PurePath:
    """Where the engine's machine sees what lies at DATA_DIR/adapter_path."""
    seen = settings.engine.data_dir
    return PurePosixPath(seen) / adapter_path if seen else settings.data_dir / adapter_path


def local_path(settings: Settings, root: str) -> Path | None:
    """The reverse of `engine_path`; None for what is not ours: an engine may serve adapters of others, too."""
    if PurePath(root).parent != engine_path(settings, DIRECTORY):
        return None
    return settings.data_dir / DIRECTORY / PurePath(root).name
