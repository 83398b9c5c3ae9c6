"""The Administration API: projects, service accounts, API keys (contract section 8)."""

import msgspec


class Project(msgspec.Struct, kw_only=True):
    id: str
    object: str = "organization.project"
    name: str
    created_at: int
    archived_at: int | None
    status: str


class ProjectCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class ServiceAccount(msgspec.Struct, kw_only=True):
    id: str
    object: str = "organization.project.service_account"
    name: str
    role: str
    created_at: int
    api_key: "NewApiKey | msgspec.UnsetType | None" = msgspec.UNSET
    """Only in the answer to its creation."""


class ServiceAccountCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    create_service_account_only: bool = False


class ApiKeyCreate(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None


class NewApiKey(msgspec.Struct, kw_only=True):
    """The only time a secret is shown."""

    id: str
    object: str = "organization.project.service_account.api_key"
    name: str
    created_at: int
    value: str


class ServiceAccountOwner(msgspec.Struct, kw_only=True):
    id: str
    name: str
    role: str
    created_at: int


class KeyOwner(msgspec.Struct, kw_only=True):
    type: str = "service_account"
    service_account: ServiceAccountOwner


class ProjectApiKey(msgspec.Struct, kw_only=True):
    id: str
    object: str = "organization.project.api_key"
    name: str
    redacted_value: str
    created_at: int
    last_used_at: int | None
    owner_project_access: str = "active"
    owner: KeyOwner
