"""GET /v1/models/{ft}/export (extension): a tuned model as a tar of safetensors files with a model card."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from litestar.response import Stream

from gateway.db.tables import ModelRow
from gateway.errors import ExportFailed, InvalidRequest, ModelUnservable, Unavailable
from gateway.fine_tuning.archive import Archive
from gateway.fine_tuning.exports import Export, flat_name
from gateway.fine_tuning.model_card import read_card, render
from gateway.fine_tuning.models import own_model
from gateway.fine_tuning.publish import ADAPTER_CONFIG
from gateway.kit.clock import unix
from gateway.services import Services

FORMATS = ("adapter", "merged")
MERGE = "merge_model"
WAIT_SECONDS = 60.0
"""How long a call waits for weights that are being merged; then it answers 503, and SDKs ask again."""
POLL_SECONDS = 0.25
RETRY_SECONDS = 10
BASE_OF_ADAPTER = "base_model_name_or_path"


async def export(sv: Services, project_id: str, model_id: str, wanted: str | None) -> Stream:
    """The archive, streamed from disk.

    Args:
        wanted: `adapter` or `merged`; None means the adapter, or the weights of a model without one.

    Raises:
        ModelNotFound: this project has not made such a model.
        InvalidRequest: the adapter of a model without one is wanted.
        Unavailable: the weights are still being merged, or no worker is there to do it.
        ExportFailed: they cannot be merged, or the model's files are gone.
    """
    async with sv.database.session() as session:
        row = await own_model(session, project_id, model_id)
        card = await read_card(session, row)
    wanted = wanted or ("merged" if row.kind == "full" else "adapter")
    if row.kind == "full" and wanted == "adapter":
        message = f"All weights of `{row.id}` were trained, so there is no adapter: use format=merged."
        raise InvalidRequest(message, param="format")
    texts = {"README.md": render(card, merged=wanted == "merged").encode()}
    directory = sv.settings.data_dir / row.adapter_path
    if not directory.is_dir():
        raise ModelUnservable(row.id, "its files are gone: restore them from a backup, or delete the model.")
    if row.kind == "adapter" and wanted == "merged":
        directory = await _merged(sv, row)
    elif row.kind == "adapter":
        texts[ADAPTER_CONFIG] = _portable(directory / ADAPTER_CONFIG, row.base_model)
    folder = flat_name(row.id)
    archive = Archive(folder, directory, texts, created=unix(row.created_at))
    pieces = archive.pieces()
    headers = {
        "content-length": str(archive.size),
        "content-disposition": f'attachment; filename="{folder}-{wanted}.tar"',
    }
    return Stream(_after(await anext(pieces), pieces), media_type="application/x-tar", headers=headers)


async def _merged(sv: Services, row: ModelRow) -> Path:
    """The directory of the merged weights, once a worker has made them. Raises Unavailable, ExportFailed."""
    made = Export(sv.settings.data_dir, Path(row.adapter_path).name)
    if not made.is_ready:
        made.forget_failure()
        await sv.queue.enqueue(MERGE, row.id)
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while not made.is_ready:
        if failure := made.failure:
            raise ExportFailed(f"The weights of `{row.id}` cannot be merged: {failure}")
        if asyncio.get_running_loop().time() > deadline:
            message = f"The weights of `{row.id}` are being merged; please retry."
            raise Unavailable(message, retry_after=RETRY_SECONDS)
        await asyncio.sleep(POLL_SECONDS)
    made.use()
    return made.directory


def _portable(path: Path, base_model: str) -> bytes:
    """The adapter's configuration with the base's name instead of a directory of this machine."""
    written = json.loads(path.read_bytes())
    if Path(written.get(BASE_OF_ADAPTER) or "/").is_absolute():
        written[BASE_OF_ADAPTER] = base_model
    return json.dumps(written, indent=2).encode()


async def _after(first: bytes, pieces: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
