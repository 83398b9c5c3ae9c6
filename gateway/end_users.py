"""Whom a call is made for, as the application says it."""

import msgspec

from gateway.kit.keyed_hash import end_user_hash
from gateway.kit.section import Secret
from gateway.protocol.decode import decode
from gateway.protocol.envelope import ABSENT, ChatEnvelope, Envelope

_text = msgspec.json.Decoder(str)


def end_user_of(envelope: Envelope, project_id: str, secret_key: Secret) -> str | None:
    """By its hash: a project's users are nobody else's, and their names are no column.

    Raises:
        InvalidJson: what names them is no text. Nobody has looked into it before: it has to be read before a model is asked,
            for what could not be recorded is not made.
    """
    named = _text_of(envelope.safety_identifier) if isinstance(envelope, ChatEnvelope) else ""
    named = named or _text_of(envelope.user)
    return end_user_hash(named, project_id, secret_key.reveal()) if named else None


def _text_of(raw: msgspec.Raw) -> str:
    """What a JSON string says; empty for anything else."""
    if raw is ABSENT:
        return ""
    plain = bytes(raw)
    return decode(_text, plain) if plain[:1] == b'"' else ""
