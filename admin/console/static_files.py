"""The bundle that hatch_build.py made, kept in memory: a handful of files, each under the sum of its content."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.params import FromPath

from gateway.errors import NotFound

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"
NOT_BUILT = "The console's scripts are not built here: run `make console`, or install the package again."


@get("/static/{name:str}", sync_to_thread=False)
def static_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """Raises NotFound."""
    body, digest = _files().get(name, (b"", ""))
    if not digest:
        raise NotFound(NOT_BUILT if not _files() else f"There is no file '{name}'.")
    kept = FOR_EVER if request.query_params.get("v") == digest else "no-cache"
    kind = TYPES.get(Path(name).suffix, "application/octet-stream")
    return Response(body, media_type=kind, headers={"cache-control": kept})


@get("/favicon.ico", sync_to_thread=False, status_code=204, include_in_schema=False)
def no_icon() -> None:
    """Pages carry their icon in themselves; a browser that leaves one before it has read that asks here."""


def url(name: str) -> str:
    """Where a browser finds it: another content, another URL."""
    return f"/console/static/{name}?v={_files().get(name, (b'', ''))[1]}"


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Name -> content and the beginning of its sum."""
    found = (path for path in sorted(STATIC.glob("*")) if path.suffix in TYPES)
    return {path.name: (body := path.read_bytes(), hashlib.sha256(body).hexdigest()[:16]) for path in found}
