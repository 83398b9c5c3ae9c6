"""The Administration API: projects, service accounts, API keys (contract section 8).

What OpenAI does not have: rights, logging, tags and tiers of keys and projects, keys that are made, renamed and rotated
through the API.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(min_length=1, max_length=256)]
ModelId = Annotated[str, Meta(min_length=1, max_length=256)]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]
Lifetime = Annotated[int, Meta(ge=1, le=315_360_000)]
"""Seconds; at most ten years."""
Overlap = Annotated[int, Meta(ge=0, le=31_536_000)]
"""Seconds."""
Logging = Literal["full", "metadata", "off"]
OVERLAP_SECONDS = 86_400


class Project(msgspec.Struct, kw_only=True):
    id: str
    object: str = "organization.project"
    name: str
    created_at: int
    archived_at: int | None
    status: str
    external_key_id: None = None
    tier: str | None
    """The class of rate limits of its keys; null for the default one."""


class ProjectCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name
    external_key_id: str | None = None
    geography: str | None = None
    residency: str | None = None
    tier: str | UnsetType | None = UNSET


class ProjectUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | None = None
    """Null leaves it."""
    external_key_id: str | None = None
    geography: str | None = None
    tier: str | UnsetType | None = UNSET


class ModelPermissions(msgspec.Struct, kw_only=True):
    object: str = "project.model_permissions"
    mode: Literal["allow_list", "deny_list"]
    model_ids: list[str]


class ModelPermissionsUpdate(msgspec.Struct, forbid_unknown_fields=True):
    mode: Literal["allow_list", "deny_list"]
    model_ids: Annotated[list[ModelId], Meta(max_length=1000)]


class ModelPermissionsDeleted(msgspec.Struct, kw_only=True):
    object: str = "project.model_permissions.deleted"
    deleted: bool


class KeyRights(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a key may do, and how it is treated. What is left out stays as it is, or is the default of a new key."""

    expires_in_seconds: Lifetime | UnsetType | None = UNSET
    """From now; null: it does not expire."""
    scopes: Annotated[list[str], Meta(max_length=100)] | UnsetType | None = UNSET
    """Endpoints (gateway/keys/scopes.py); null or empty, as at OpenAI: every endpoint."""
    allowed_models: Annotated[list[ModelId], Meta(min_length=1, max_length=1000)] | UnsetType | None = UNSET
    """Names as clients send them, a trailing `*` for all that begin so; null: every model of the project."""
    logging: Logging | UnsetType = UNSET
    """What the exchange log keeps of its calls: full; metadata (no bodies); off (nothing but the bill)."""
    tags: Annotated[list[Tag], Meta(max_length=32)] | UnsetType = UNSET
    tier: str | UnsetType | None = UNSET
    """A class of rate limits; null: the project's."""


class ApiKeyCreate(KeyRights):
    name: Name | None = None


class ApiKeyUpdate(KeyRights):
    name: Name | UnsetType = UNSET


class ApiKeyRotate(msgspec.Struct, forbid_unknown_fields=True):
    overlap_seconds: Overlap = OVERLAP_SECONDS
    """How long the old secret still works."""


class WorkingKeyCreate(msgspec.Struct, forbid_unknown_fields=True):
    purpose: Literal["judge", "eval"]
    """What Tuneway asks models for with it."""


class ServiceAccountCreate(KeyRights):
    """The rights are those of the key."""

    name: Name
    create_service_account_only: bool | None = None


class ServiceAccountUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    role: Literal["member", "owner"] | UnsetType = UNSET


class NewApiKey(msgspec.Struct, kw_only=True):
    """The only time a secret is shown."""

    id: str
    object: str = "organization.project.service_account.api_key"
    name: str
    created_at: int
    expires_at: int | None
    value: str


class ServiceAccount(msgspec.Struct, kw_only=True):
    id: str
    object: str = "organization.project.service_account"
    name: str
    role: str
    created_at: int
    api_key: NewApiKey | UnsetType | None = UNSET
    """Only in the answer to its creation."""


class ServiceAccountOwner(msgspec.Struct, kw_only=True):
    id: str
    name: str
    role: str
    created_at: int


class UserOwner(msgspec.Struct, kw_only=True):
    id: str
    email: str
    name: str
    created_at: int
    role: str
    """In the project; an owner of the organisation is one everywhere."""


class KeyOwner(msgspec.Struct, kw_only=True):
    """One of both."""

    type: Literal["user", "service_account"]
    user: UserOwner | UnsetType = UNSET
    service_account: ServiceAccountOwner | UnsetType = UNSET


class ProjectApiKey(msgspec.Struct, kw_only=True):
    id: str
    object: str = "organization.project.api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    owner_project_access: Literal["active", "inactive"]
    owner: KeyOwner
    scopes: list[str] | None
    """Null: every endpoint."""
    allowed_models: list[str] | None
    """Null: every model of the project."""
    logging: str
    tags: list[str]
    tier: str | None
    purpose: str | None
    """judge, eval: what Tuneway itself asks models for with it; null for everybody else's."""
    old_value_expires_at: int | None
    """Until when the secret that was replaced by rotation works as well; null when none does."""
    value: str | UnsetType = UNSET
    """Only in the answer that makes or rotates it."""


def given(wanted: msgspec.Struct) -> dict[str, Any]:
    """The fields that a client sent: those that are not unset."""
    fields = msgspec.structs.asdict(wanted)
    return {name: value for name, value in fields.items() if value is not UNSET}
