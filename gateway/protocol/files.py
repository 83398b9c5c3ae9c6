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
    """`expires_after[anchor]` and `expires_after[seconds]` of an upload."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, msgspec.Meta(ge=3600, le=2_592_000)]
