"""What a call is counted with before it has run: what it sends, and what it allows the answer to be, as OpenAI does."""

import math
import re

from gateway.protocol.envelope import ChatEnvelope, Envelope, whole_number

CHARACTERS_A_TOKEN = 4
"""OpenAI's rule of thumb for English."""
EMBEDDED_TOKENS = 1_000
"""An image, sound or file inside the body, whose bytes say nothing about its tokens: about an image in full detail."""
_embedded = re.compile(rb'"(?:data:[^",]{0,100};base64,)?[A-Za-z0-9+/]{1000,}={0,2}"')


def reserved(envelope: Envelope, body: bytes) -> int:
    """Tokens; at least 1. What is no number here is for the upstream to refuse."""
    answer = whole_number(envelope.max_completion_tokens) if isinstance(envelope, ChatEnvelope) else 0
    answer = answer or whole_number(envelope.max_tokens)
    return max(1, _prompt(body) + answer * max(1, whole_number(envelope.n)))


def _prompt(body: bytes) -> int:
    size, files = len(body), 0
    if size > EMBEDDED_TOKENS:
        for found in _embedded.finditer(body):
            size, files = size - len(found.group()), files + 1
    return math.ceil(size / CHARACTERS_A_TOKEN) + files * EMBEDDED_TOKENS
