"""/v1/datasets/import: tables and conversations of any kind, made into training files. An extension."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any

import msgspec
from litestar import Request, post

from gateway.datasets.isolated import fill, path_of, pieces_of, temporary
from gateway.db.tables import FileRow
from gateway.errors import ContentTooLarge, InvalidRequest, MissingParameter
from gateway.files import repository, service
from gateway.files.store import too_large
from gateway.keys.ring import ApiKey
from gateway.protocol.datasets import Import, ImportOptions
from gateway.protocol.decode import convert, decode
from gateway.routes.callers import Caller, Sv
from gateway.routes.file_reports import WORKPLACE, model_argument
from gateway.routes.files import file
from gateway.routes.forms import FileForm
from gateway.services import Services

IMPORT_BYTES = 500 * 1024 * 1024
OPTIONS_BYTES = 64 * 1024
"""Of a JSON body."""
ARGUMENT_BYTES = 120_000
LISTS = {"leave_out", "excluded_rows"}
"""Fields of a form with several values."""
LONGEST_STEM = 400
"""Characters of a name that are kept, so that `.validation.jsonl` still fits behind them (service.FILENAME_LIMIT)."""

decode_options = msgspec.json.Decoder(ImportOptions)


@post("/v1/datasets/import", status_code=200, request_max_body_size=None)
async def import_dataset(sv: Sv, caller: Caller, request: Request[Any, Any, Any]) -> Import:
    """A multipart form with `file` or `file_id`, or JSON with `file_id`; without `store` this only shows what would be."""
    directory = sv.settings.data_dir / WORKPLACE
    with ExitStack() as stack:
        source, training, validation = (stack.enter_context(temporary(directory)) for _ in range(3))
        sent = await _receive(sv, caller, request, source)
        arguments = ["import", path_of(source), "--options", _argument(sent.options), *model_argument(sv)]
        if sent.options.store:
            arguments += ["--training", path_of(training), "--validation", path_of(validation)]
        printed = await sv.datasets.run(arguments, [source, training, validation], first=sent.fetch)
        answer = msgspec.json.decode(printed, type=Import)
        if sent.options.store:
            await _store(sv, caller, answer, sent.filename, (training, validation))
    return answer


@dataclass(frozen=True)
class _Sent:
    """What a call asks for."""

    options: ImportOptions
    filename: str
    fetch: Callable[[], Awaitable[object]] | None = None
    """Brings the content, where it was not sent but is stored."""


async def _receive(sv: Services, caller: ApiKey, request: Request[Any, Any, Any], source: IO[bytes]) -> _Sent:
    """Bring the content into `source` if it was sent; -> what to do with it."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _stored(sv, caller, decode(decode_options, await _json_body(request)), source)
    form = FileForm(request, "file", IMPORT_BYTES)
    try:
        await form.open()
    except MissingParameter:
        return await _stored(sv, caller, _options(form.fields), source)
    await fill(source, form.pieces())
    options = _options(form.fields)
    if options.file_id:
        raise InvalidRequest("Send 'file' or 'file_id', not both.", param="file_id")
    return _Sent(options, form.filename)


async def _stored(sv: Services, caller: ApiKey, options: ImportOptions, source: IO[bytes]) -> _Sent:
    """A stored file of any purpose. Raises MissingParameter, NotFound, ContentTooLarge."""
    if not options.file_id:
        raise MissingParameter("file")
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, options.file_id)
    if row.bytes > IMPORT_BYTES:
        raise too_large(IMPORT_BYTES, "file_id")
    return _Sent(options, row.filename, lambda: fill(source, sv.files.get(row.id)))


async def _json_body(request: Request[Any, Any, Any]) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > OPTIONS_BYTES:
            raise ContentTooLarge("The body is too large. Send the content as the part 'file' of multipart/form-data.")
    return bytes(body)


def _options(fields: dict[str, str]) -> ImportOptions:
    """Of a form: `mapping` is JSON, or fields such as `mapping[user]`; lists are separated by commas; empty fields are left
    out."""
    raw: dict[str, Any] = {name: value for name, value in fields.items() if value and not name.startswith("mapping")}
    for name in LISTS & raw.keys():
        raw[name] = [each.strip() for each in raw[name].split(",")]
    mapping = {
        name[8:-1]: value for name, value in fields.items() if name.startswith("mapping[") and name.endswith("]")
    }
    if fields.get("mapping"):
        try:
            mapping |= msgspec.json.decode(fields["mapping"], type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            message = 'Invalid \'mapping\': expected a JSON object such as {"user": "...", "assistant": "..."}.'
            raise InvalidRequest(message, param="mapping") from None
    return convert({**raw, "mapping": mapping} if mapping else raw, ImportOptions)


def _argument(options: ImportOptions) -> str:
    """An argument of a command may have 128 kB on Linux."""
    written = msgspec.json.encode(options)
    if len(written) > ARGUMENT_BYTES:
        raise InvalidRequest("The options are too long; name fewer columns, or shorten 'system'.", param="mapping")
    return written.decode()


async def _store(
    sv: Services, caller: ApiKey, answer: Import, filename: str, outputs: tuple[IO[bytes], IO[bytes]]
) -> None:
    """Both files or none."""
    stem = PurePath(filename.replace("\\", "/")).stem[:LONGEST_STEM] or "dataset"
    async with sv.database.session() as session:
        size = answer.report.bytes if answer.report else 0
        await service.check_room(session, caller.project_id, size, sv.settings.files)
    training = await _store_one(sv, caller, f"{stem}.jsonl", outputs[0])
    answer.file = file(training)
    if not answer.validation_examples:
        return
    try:
        answer.validation_file = file(await _store_one(sv, caller, f"{stem}.validation.jsonl", outputs[1]))
    except BaseException:
        await asyncio.shield(service.delete(sv.database, sv.files, caller.project_id, training.id))
        raise


async def _store_one(sv: Services, caller: ApiKey, filename: str, content: IO[bytes]) -> FileRow:
    upload = service.Upload(filename=filename, purpose="fine-tune", pieces=pieces_of(content), expires_after=None)
    return await service.store(sv.database, sv.files, caller.project_id, upload, max_bytes=service.LARGEST)
