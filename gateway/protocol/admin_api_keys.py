"""Admin keys of the Administration API (contract section 8)."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.protocol.organization import Name

AdminRole = Literal["owner", "reader"]


class AdminApiKeyCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    expires_in_seconds: Annotated[int, Meta(ge=1, le=31_536_000)] | None = None
    role: AdminRole = "owner"
    """Ours: a reader may look at everything and change nothing."""


class AdminKeyOwner(msgspec.Struct, kw_only=True):
    """Who made it; a key that nobody in particular made is its own owner, of the type `service_account`."""

    type: Literal["user", "service_account"]
    object: str
    id: str
    name: str
    created_at: int
    role: str


class AdminApiKey(msgspec.Struct, kw_only=True):
    object: str = "organization.admin_api_key"
    id: str
    name: str
    redacted_value: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    owner: AdminKeyOwner
    role: AdminRole
    value: str | UnsetType = UNSET
    """Only in the answer to its creation."""
