"""People: members of the organisation and of projects, and invitations (contract section 8)."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

OrganizationRole = Literal["owner", "reader"]
ProjectRole = Literal["owner", "member"]


class UserProject(msgspec.Struct, kw_only=True):
    id: str
    name: str
    role: ProjectRole


class UserProjects(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[UserProject]


class User(msgspec.Struct, kw_only=True):
    """OpenAI's fields; then what it does not have."""

    object: str = "organization.user"
    id: str
    name: str
    email: str
    role: str
    added_at: int
    projects: UserProjects
    has_password: bool
    totp: bool
    """Whether a code is asked for beside the password."""
    single_sign_on: bool
    last_login_at: int | None


class UserCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An addition to OpenAI's API, for the first owner and for scripts; otherwise people are invited."""

    email: str
    name: str | None = None
    role: OrganizationRole = "reader"
    password: str | None = None
    """None: the person signs in through the identity provider."""


class UserUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: OrganizationRole | UnsetType | None = UNSET
    name: str | UnsetType = UNSET


class PasswordReset(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    password: str


class ProjectUser(msgspec.Struct, kw_only=True):
    object: str = "organization.project.user"
    id: str
    name: str
    email: str
    role: str
    added_at: int


class ProjectUserCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: ProjectRole
    user_id: str | None = None
    email: str | None = None


class ProjectUserUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: ProjectRole | None = None


class InviteProject(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    id: str
    role: ProjectRole


class InviteCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    email: str
    role: OrganizationRole
    projects: list[InviteProject] = []


class Invite(msgspec.Struct, kw_only=True):
    object: str = "organization.invite"
    id: str
    email: str
    role: str
    status: Literal["accepted", "expired", "pending"]
    created_at: int
    expires_at: int
    accepted_at: int | None
    projects: list[InviteProject]
    invite_url: str | UnsetType = UNSET
    """Only in the answer to its creation: nobody sends mail, so who invites passes it on. An addition to OpenAI's."""


class InviteAccept(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    token: str
    name: str
    password: str
