"""What a call is counted with before it has run: what it sends, and what it allows the answer to be, as OpenAI does."""

from gateway.kit.embedded import EMBEDDED_TOKENS, apart
from gateway.protocol.envelope import ABSENT, ChatEnvelope, Envelope, whole_number

CHARACTERS_A_TOKEN = 4
"""OpenAI's rule of thumb for English."""


def reserved(envelope: Envelope, body: bytes) -> int:
    """Tokens; at least 1. What is no number here is for the upstream to refuse."""
    size, embedded = apart(body)
    return embedded * EMBEDDED_TOKENS - (-size // CHARACTERS_A_TOKEN) + _answer(envelope) or 1


def _answer(envelope: Envelope) -> int:
    answer = 0
    if isinstance(envelope, ChatEnvelope) and envelope.max_completion_tokens is not ABSENT:
        answer = whole_number(envelope.max_completion_tokens)
    if not answer and envelope.max_tokens is not ABSENT:
        answer = whole_number(envelope.max_tokens)
    return answer and answer * (whole_number(envelope.n) or 1)
