"""Files (contract section 2)."""

from typing import Annotated, Literal

import msgspec

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
PURPOSES: tuple[Purpose, ...] = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
"""What a client may upload."""
InternalPurpose = Literal["assistants_output", "batch_output", "fine-tune-results"]
INTERNAL_PURPOSES: tuple[InternalPurpose, ...] = ("assistants_output", "batch_output", "fine-tune-results")
"""What only the service itself stores, and a client may list, read and delete."""


class File(msgspec.Struct, kw_only=True):
    id: str
    object: str = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str
    status: str = "processed"
    """Deprecated by OpenAI, but its SDKs' wait_for_processing polls it."""
    status_details: str | None = None


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    """`expires_after[anchor]` and `expires_after[seconds]` of a form, an object in JSON."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, msgspec.Meta(ge=3600, le=2_592_000)]


class CreateUpload(msgspec.Struct, forbid_unknown_fields=True):
    """Announces a file that will arrive in parts."""

    filename: Annotated[str, msgspec.Meta(min_length=1)]
    purpose: str
    bytes: Annotated[int, msgspec.Meta(ge=0)]
    mime_type: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    expires_after: ExpiresAfter | None = None


class CompleteUpload(msgspec.Struct, forbid_unknown_fields=True):
    part_ids: Annotated[list[str], msgspec.Meta(max_length=10_000)]
    """In the order of the file."""
    md5: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{32}$")] | None = None
    """Of the whole file, in hex."""


class FileUpload(msgspec.Struct, kw_only=True):
    """OpenAI's Upload object; `file` only once it is completed: its schema has no null there."""

    id: str
    object: str = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: str
    file: File | msgspec.UnsetType = msgspec.UNSET


class UploadPart(msgspec.Struct, kw_only=True):
    id: str
    object: str = "upload.part"
    created_at: int
    upload_id: str
