"""What a call is counted with before it has run: what it sends, and what it allows the answer to be, as OpenAI does."""

import re

from gateway.protocol.envelope import ABSENT, ChatEnvelope, Envelope, whole_number

CHARACTERS_A_TOKEN = 4
"""OpenAI's rule of thumb for English."""
EMBEDDED_TOKENS = 1_000
"""An image, sound or file inside the body, whose bytes say nothing about its tokens: about an image in full detail."""
_embedded = re.compile(rb'"(?:data:[^",]{0,100};base64,)?[A-Za-z0-9+/]{1000,}={0,2}"')


def reserved(envelope: Envelope, body: bytes) -> int:
    """Tokens; at least 1. What is no number here is for the upstream to refuse."""
    size, tokens = len(body), 0
    if size > EMBEDDED_TOKENS:
        for found in _embedded.finditer(body):
            size, tokens = size - len(found.group()), tokens + EMBEDDED_TOKENS
    return tokens - (-size // CHARACTERS_A_TOKEN) + _answer(envelope) or 1


def _answer(envelope: Envelope) -> int:
    answer = 0
    if isinstance(envelope, ChatEnvelope) and envelope.max_completion_tokens is not ABSENT:
        answer = whole_number(envelope.max_completion_tokens)
    if not answer and envelope.max_tokens is not ABSENT:
        answer = whole_number(envelope.max_tokens)
    return answer and answer * (whole_number(envelope.n) or 1)
