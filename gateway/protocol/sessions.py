"""Sessions of the console: an addition to OpenAI's API."""

from typing import Literal

import msgspec

from gateway.protocol.users import User


class SignIn(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    email: str
    password: str
    code: str | None = None
    """Of the authenticator app, or a recovery code; needed once TOTP is switched on."""


class Session(msgspec.Struct, kw_only=True):
    object: str = "session"
    id: str
    created_at: int
    last_seen_at: int
    expires_at: int
    """Unless it is idle for too long before that."""
    ip_address: str
    user_agent: str
    current: bool


class CurrentSession(Session, kw_only=True):
    user: User
    csrf_token: str
    """For the header x-csrf-token of everything but GET."""
    recovery_codes_left: int


class NameChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    """Empty: what stands before the @ of the email."""


class PasswordChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    current_password: str
    password: str


class PasswordProof(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    password: str
    code: str | None = None


class CodeProof(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    code: str


class TotpSecret(msgspec.Struct, kw_only=True):
    """Shown once, while TOTP is being switched on."""

    object: str = "totp.secret"
    secret: str
    uri: str
    """otpauth://totp/..., for a QR code."""


class RecoveryCodes(msgspec.Struct, kw_only=True):
    """Shown once. Each takes the place of one code."""

    object: str = "totp.recovery_codes"
    recovery_codes: list[str]


class WayIn(msgspec.Struct, kw_only=True):
    type: Literal["password", "oidc"]
    text: str
    url: str


class WaysIn(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[WayIn]
