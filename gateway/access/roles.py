"""What each role may do: one table, enforced in one place (gateway/routes/callers.py).

| role                     | may                                                                              |
|--------------------------|----------------------------------------------------------------------------------|
| owner (organisation)     | everything                                                                       |
| reader (organisation)    | read everything (GET), but for the settings of the gateway                       |
| owner (of a project)     | also change what is below the URL of that project                                |
| member (of a project)    | read what is below the URL of that project                                       |

Admin keys have a role in the organisation and none in projects. A URL that this table does not name is for owners of the
organisation alone.
"""

import re
from collections.abc import Mapping
from enum import Enum

from gateway.access.administrator import Administrator
from gateway.errors import Forbidden

READ = frozenset({"GET", "HEAD"})


class Need(Enum):
    """What a call takes."""

    OWNER = "an owner of the organization"
    READER = "an owner or reader of the organization"
    PROJECT_OWNER = "an owner of the organization or of this project"
    PROJECT_READER = "an owner or reader of the organization, or somebody who belongs to this project"
    PERSON = "a person who has signed in, not a key"


ORGANIZATION = """
GET POST         /v1/organization/projects
GET              /v1/organization/projects/{}
POST             /v1/organization/projects/{}/archive
POST DELETE      /v1/organization/projects/{}/rate_limits/{}
POST             /v1/organization/projects/{}/retention
GET POST         /v1/organization/users
GET POST DELETE  /v1/organization/users/{}
POST             /v1/organization/users/{}/password
DELETE           /v1/organization/users/{}/totp
GET POST         /v1/organization/invites
GET DELETE       /v1/organization/invites/{}
GET POST         /v1/organization/admin_api_keys
GET DELETE       /v1/organization/admin_api_keys/{}
GET              /v1/organization/audit_logs
GET              /v1/organization/costs
GET              /v1/organization/traffic
GET              /v1/organization/alerts
GET              /v1/organization/usage/completions
GET              /v1/organization/usage/decisions
GET              /v1/organization/usage/embeddings
GET              /v1/organization/usage/moderations
GET              /v1/organization/usage/trainings
GET              /v1/organization/usage/images
GET              /v1/organization/usage/audio_speeches
GET              /v1/organization/usage/audio_transcriptions
GET              /v1/organization/usage/vector_stores
GET              /v1/organization/usage/code_interpreter_sessions
GET              /v1/organization/usage/file_search_calls
GET              /v1/organization/usage/web_search_calls
GET POST DELETE  /v1/organization/spend_limit
GET POST         /v1/organization/spend_alerts
GET POST DELETE  /v1/organization/spend_alerts/{}
GET POST         /v1/budgets
GET POST DELETE  /v1/budgets/{}
GET              /v1/budgets/{}/events
GET              /v1/budgets/holders
GET              /v1/budgets/holders/{}
POST             /v1/budgets/holders/{}/release
GET POST         /v1/prices
GET              /v1/prices/unpriced
GET DELETE       /v1/prices/{}
GET              /v1/webhook_event_types
GET POST         /v1/webhooks
GET POST DELETE  /v1/webhooks/{}
GET              /v1/webhooks/{}/deliveries
POST             /v1/webhooks/{}/rotate_secret
POST             /v1/webhooks/{}/test
GET POST         /v1/webhook_endpoints
GET POST DELETE  /v1/webhook_endpoints/{}
GET              /v1/webhook_endpoints/{}/deliveries
POST             /v1/webhook_endpoints/{}/rotate_secret
POST             /v1/webhook_endpoints/{}/test
GET POST         /v1/routes
GET POST DELETE  /v1/routes/{}
GET              /v1/routes/{}/revisions
POST             /v1/routes/{}/rollback
GET POST         /v1/upstreams
GET POST DELETE  /v1/upstreams/{}
POST             /v1/upstreams/{}/test
GET              /v1/upstreams/{}/available_models
POST             /v1/models/load
POST             /v1/models/unload
GET              /v1/models/active
GET              /v1/models/deployments
GET POST DELETE  /v1/fine_tuning/checkpoints/{}
"""
"""Readers of the organisation read it, owners change it."""

OWNED = """
GET              /v1/organization/settings
"""
"""Owners of the organisation read it: it tells of the machines behind the gateway, and every person is a reader."""

PROJECT = """
POST             /v1/organization/projects/{}
GET POST         /v1/organization/projects/{}/users
GET POST DELETE  /v1/organization/projects/{}/users/{}
GET POST         /v1/organization/projects/{}/service_accounts
GET POST DELETE  /v1/organization/projects/{}/service_accounts/{}
POST             /v1/organization/projects/{}/service_accounts/{}/api_keys
GET POST         /v1/organization/projects/{}/api_keys
GET POST DELETE  /v1/organization/projects/{}/api_keys/{}
POST             /v1/organization/projects/{}/api_keys/{}/rotate
POST             /v1/organization/projects/{}/working_keys
GET              /v1/organization/projects/{}/rate_limits
GET              /v1/organization/projects/{}/traffic
GET              /v1/organization/projects/{}/alerts
GET              /v1/organization/projects/{}/retention
GET POST DELETE  /v1/organization/projects/{}/model_permissions
GET POST DELETE  /v1/organization/projects/{}/spend_limit
GET POST         /v1/organization/projects/{}/spend_alerts
GET POST DELETE  /v1/organization/projects/{}/spend_alerts/{}
DELETE           /v1/organization/projects/{}/exchanges
DELETE           /v1/organization/projects/{}/exchanges/{}
"""
"""Who belongs to the project reads it, its owners change it; the first `{}` is the project. To archive a project cannot be
undone, so owners of the organisation do that."""

PROJECT_READ = """
GET              /v1/organization/projects/{}
"""
"""Of ORGANIZATION, what members of the project read too."""

PERSONAL = """
GET              /v1/sessions
GET DELETE       /v1/sessions/current
DELETE           /v1/sessions/{}
POST             /v1/sessions/current/name
POST             /v1/sessions/current/password
POST             /v1/sessions/current/totp
POST             /v1/sessions/current/totp/confirm
POST             /v1/sessions/current/totp/disable
"""
"""Everybody's own."""


def _lines(text: str) -> list[tuple[str, str]]:
    """Method and URL of each."""
    words = [line.split() for line in text.strip().splitlines()]
    return [(method, url) for *methods, url in words for method in methods]


TABLE: dict[tuple[str, str], Need] = (
    {each: Need.READER if each[0] in READ else Need.OWNER for each in _lines(ORGANIZATION)}
    | dict.fromkeys(_lines(OWNED), Need.OWNER)
    | {each: Need.PROJECT_READER if each[0] in READ else Need.PROJECT_OWNER for each in _lines(PROJECT)}
    | dict.fromkeys(_lines(PROJECT_READ), Need.PROJECT_READER)
    | dict.fromkeys(_lines(PERSONAL), Need.PERSON)
)
"""Method and URL, with `{}` for each parameter -> what it takes."""


def need_of(method: str, template: str) -> Need:
    """What a call takes. Args: template: the URL with its parameters, however they are named."""
    return TABLE.get(("GET" if method == "HEAD" else method, re.sub(r"\{[^}]*\}", "{}", template)), Need.OWNER)


def require(admin: Administrator, need: Need, parameters: Mapping[str, object]) -> None:
    """Raises Forbidden, which says what is missing."""
    if not _has(admin, need, admin.project_roles.get(str(parameters.get("project_id", "")))):
        raise Forbidden(f"This takes {need.value}; {admin.name} is {_described(admin)}.")


def _has(admin: Administrator, need: Need, project_role: str | None) -> bool:
    if need is Need.PERSON:
        return admin.session_id is not None
    if admin.role == "owner":
        return True
    match need:
        case Need.READER:
            return admin.role == "reader"
        case Need.PROJECT_READER:
            return admin.role == "reader" or project_role is not None
        case _:
            return need is Need.PROJECT_OWNER and project_role == "owner"


def _described(admin: Administrator) -> str:
    kind = "a person" if admin.session_id else "a key"
    return f"{kind} with the role {admin.role}"
