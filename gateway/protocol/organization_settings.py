"""/v1/organization/settings (an extension): how the gateway process that answers is configured, without its secrets."""

from typing import Any, Literal

import msgspec


class Setting(msgspec.Struct, kw_only=True):
    name: str
    """As in the configuration file: `pool_size` of the section `database`."""
    environment: str | None
    """The variable that sets it, too; null: only a configuration file can."""
    meaning: str
    value: Any
    """null for a secret; passwords in URLs, and whatever may be a secret in headers and commands, are `***`."""
    default: Any
    """null where there is none."""
    secret: bool
    set: bool
    """Whether it has a value; all that is told of a secret."""
    changed: bool
    """Whether it is another than the default."""


class SettingSection(msgspec.Struct, kw_only=True):
    name: str
    """Empty: what stands before the first section."""
    entry: str | None
    """Of a list of tables, as [[upstreams]]: the name of this one."""
    listed: bool
    """Whether there may be several; then there is one section for each, or one without settings where there is none."""
    meaning: str
    settings: list[Setting]


class SeenGateway(msgspec.Struct, kw_only=True):
    id: str
    host: str
    since: int
    """Since when it says again and again that it runs."""
    seen_at: int


class SeenMachine(msgspec.Struct, kw_only=True):
    host: str
    trains_on: str
    """What its worker found when it started."""
    seen_at: int
    """When that worker started."""


class SeenEngine(msgspec.Struct, kw_only=True):
    url: str
    state: Literal["up", "down", "asleep", "unknown"]
    """unknown: no worker has looked yet."""
    problem: str | None
    seen_at: int | None


class SpoolState(msgspec.Struct, kw_only=True):
    """Finished calls on the disk of the process that answers, until they are in the database."""

    path: str
    bytes: int


class StorageState(msgspec.Struct, kw_only=True):
    kind: Literal["directory", "s3"]
    place: str


class SingleSignOnState(msgspec.Struct, kw_only=True):
    enabled: bool
    issuer: str | None
    redirect_url: str | None
    """What the identity provider has to know; null while [console] url is not set."""


class Kept(msgspec.Struct, kw_only=True):
    """How long something is there."""

    what: Literal[
        "exchange_bodies",
        "exchanges",
        "audit_log",
        "training_logs",
        "failed_job_files",
        "unfinished_uploads",
        "webhook_deliveries",
        "ended_sessions",
        "finished_judging",
    ]
    seconds: float | None
    """After its end; null: until somebody deletes it, or for good. Projects may keep bodies, exchanges and logs of trainings for
    other periods."""


class SchemaState(msgspec.Struct, kw_only=True):
    revision: str | None
    """Of the database."""
    newest: str
    """That this version of Tuneway knows."""


class OrganizationSettings(msgspec.Struct, kw_only=True):
    object: str = "organization.settings"
    version: str
    database: SchemaState
    gateways: list[SeenGateway]
    """Processes that hold parts of budgets, or did; one that never did is not known."""
    worker_alive: bool | None
    """Whether a worker gave a sign of life lately; null: the queue cannot be asked."""
    workers: list[SeenMachine]
    engines: list[SeenEngine]
    spool: SpoolState
    storage: StorageState
    single_sign_on: SingleSignOnState
    kept: list[Kept]
    sections: list[SettingSection]
