"""Who administers: an admin key, or a person who has signed in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.protocol.audit_logs import Actor
from gateway.protocol.users import OrganizationRole, ProjectRole


@dataclass(frozen=True, slots=True)
class Administrator:
    """What it may do is decided in one place: gateway/access/roles.py."""

    id: str
    """Of the key or of the user."""
    name: str
    role: OrganizationRole
    actor: Actor
    """As the audit log shows it."""
    user_id: str | None = None
    """The person; None for a key that nobody in particular made."""
    project_roles: Mapping[str, ProjectRole] = field(default_factory=dict[str, ProjectRole])
    session_id: str | None = None
    """Of the browser that the person has signed in with; None for a key."""
