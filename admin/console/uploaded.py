"""A file of a form, on its way to the API."""

import secrets
from typing import Any

from litestar.datastructures import UploadFile

from admin.console.api import ApiRefused


async def multipart(file: Any, **fields: str) -> tuple[str, bytes]:
    """Content type and body of a form with these fields and the file. Raises ApiRefused: no file was chosen."""
    if not isinstance(file, UploadFile) or not file.filename:
        raise ApiRefused(400, {"message": "Choose a file first.", "param": "file"})
    boundary = secrets.token_hex(16)
    name = file.filename.replace("\\", "").replace('"', "").replace("\r", "").replace("\n", "")
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{key}"\r\n\r\n{value}' for key, value in fields.items()
    ]
    parts.append(f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n')
    body = "\r\n".join(parts).encode() + await file.read() + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body
