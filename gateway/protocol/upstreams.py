"""Providers: /v1/upstreams (an extension) and [[upstreams]] of the settings."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gateway.errors import ErrorObject

Kind = Literal["openai", "anthropic"]
"""The API that an upstream speaks; Anthropic's is translated (gateway/upstreams/anthropic/)."""


class ServedModel(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A model that clients call by another name than the provider does."""

    model: str
    served_name: str


class UpstreamFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What POST /v1/upstreams and POST /v1/upstreams/{id} take. What is left out stays; null removes."""

    name: str | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    """Or `base_urls`, of several replicas that serve the same models."""
    base_urls: list[str] | UnsetType = UNSET
    api_key: str | UnsetType | None = UNSET
    """Secret: it is stored sealed and never shown again."""
    models: list[str | ServedModel] | UnsetType = UNSET
    """Names as clients call them."""
    headers: dict[str, str] | UnsetType | None = UNSET
    secret_headers: dict[str, str] | UnsetType | None = UNSET
    """Their values are stored sealed and never shown again."""
    organization: str | UnsetType | None = UNSET
    project: str | UnsetType | None = UNSET
    proxy: str | UnsetType | None = UNSET
    """A user and password in it are stored sealed and never shown again."""


class UpstreamObject(msgspec.Struct, kw_only=True):
    id: str
    object: str = "upstream"
    name: str
    kind: str
    base_url: str
    """The first of `base_urls`."""
    base_urls: list[str]
    models: list[str | ServedModel]
    headers: dict[str, str]
    secret_headers: list[str]
    """Their names alone."""
    has_key: bool
    key_hint: str | None
    """The key's last four characters; null for a short one."""
    organization: str | None
    project: str | None
    proxy: str | None
    """Without user and password."""
    has_proxy_credentials: bool
    source: Literal["api", "settings"]
    """What stands in the settings cannot be changed here."""
    problem: str | None
    """Why calls to it are refused."""
    failing_models: list[str]
    """Those that failed again and again, and get a call now and then only: as the process knows it that answers."""
    created_at: int | None
    """Unix seconds; null for one of the settings."""
    updated_at: int | None


class UpstreamTestCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    model: str | None = None
    """As clients call it; the first one when left out."""


class UpstreamTest(msgspec.Struct, kw_only=True):
    """How a call of one token went."""

    object: str = "upstream.test"
    upstream: str
    model: str
    ok: bool
    status: int | None
    """Of the provider's answer; null when there was none."""
    ms: int
    """Until the answer was complete."""
    error: ErrorObject | None


class AvailableModel(msgspec.Struct, kw_only=True):
    id: str
    """The provider's name."""
    object: str = "upstream.available_model"
    models: list[str]
    """Names under which clients can call it here already."""
