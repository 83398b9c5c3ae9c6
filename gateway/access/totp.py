"""Codes of an authenticator app (TOTP, RFC 6238), and the recovery codes for whoever lost it."""

import hmac
import secrets
import time

from pyotp import random_base32
from pyotp.totp import TOTP

from gateway.db.tables import UserRow
from gateway.errors import Conflict
from gateway.kit.keyed_hash import keyed_hash
from gateway.kit.sealing import CannotOpen, NoKey, Place, Sealer

ISSUER = "Tuneway"
STEP_SECONDS = 30
DRIFT = 1
"""Steps that a phone's clock may be off, either way (RFC 6238, section 5.2)."""
RECOVERY_CODES = 10
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters that look like others. Ten of them are 49 bits: enough for a code that is guessed online only, because
its hash is keyed."""
HALF = 5


def begin(user: UserRow, sealer: Sealer) -> tuple[str, str]:
    """A new secret for somebody, not asked for until a code of it was shown; and its otpauth URI.

    Raises:
        Conflict: it is switched on already, or there is no key to seal it with.
    """
    if user.totp_confirmed_at is not None:
        raise Conflict("TOTP is switched on already. Switch it off first: POST /v1/sessions/current/totp/disable.")
    secret = random_base32()
    try:
        user.totp_secret = sealer.seal(secret, place(user.id))
    except NoKey:
        raise Conflict("TOTP needs a key to seal its secrets with: set encryption_key.") from None
    user.totp_last_step = None
    return secret, TOTP(secret).provisioning_uri(name=user.email, issuer_name=ISSUER)


def accept_code(user: UserRow, code: str, sealer: Sealer, secret_key: str) -> bool:
    """Whether `code` is a code of this moment that was not used before, or a recovery code; it is used up by this.

    The row must be locked (SELECT ... FOR UPDATE), or two calls could use the same code.
    """
    code = code.strip().replace(" ", "")
    return _accept_step(user, code, sealer) or _accept_recovery_code(user, code, secret_key)


def accept_first_code(user: UserRow, code: str, sealer: Sealer) -> bool:
    """The same while it is being switched on: recovery codes do not count."""
    return _accept_step(user, code.strip().replace(" ", ""), sealer)


def new_recovery_codes(user: UserRow, secret_key: str) -> list[str]:
    """Ten codes in the place of those before."""
    codes = [_random_half() + "-" + _random_half() for _ in range(RECOVERY_CODES)]
    user.recovery_codes = [_hash(user, code, secret_key) for code in codes]
    return codes


def switch_off(user: UserRow) -> None:
    user.totp_secret = user.totp_confirmed_at = user.totp_last_step = None
    user.recovery_codes = []


def place(user_id: str) -> Place:
    return Place("users", user_id, "totp_secret")


def _accept_step(user: UserRow, code: str, sealer: Sealer) -> bool:
    totp = _totp(user, sealer)
    if totp is None:
        return False
    now = int(time.time()) // STEP_SECONDS
    for step in range(now - DRIFT, now + DRIFT + 1):
        unused = user.totp_last_step is None or step > user.totp_last_step
        if unused and hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            user.totp_last_step = step
            return True
    return False


def _totp(user: UserRow, sealer: Sealer) -> TOTP | None:
    """None: there is none, or it was sealed with a key that is gone; recovery codes still help, and owners can reset."""
    if user.totp_secret is None:
        return None
    try:
        return TOTP(sealer.open(user.totp_secret, place(user.id)))
    except CannotOpen:
        return None


def _accept_recovery_code(user: UserRow, code: str, secret_key: str) -> bool:
    hashed = _hash(user, code.lower(), secret_key)
    if hashed not in user.recovery_codes:
        return False
    user.recovery_codes = [each for each in user.recovery_codes if each != hashed]
    return True


def _hash(user: UserRow, code: str, secret_key: str) -> str:
    return keyed_hash(f"{user.id} {code.replace('-', '')}", secret_key, "recovery code").hex()


def _random_half() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(HALF))
