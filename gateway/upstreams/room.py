"""How long an answer may be, as upstreams say when they refuse a limit that is too large."""

import re

LONGEST = 2000
"""Characters of a message that are looked at: it may repeat what the client has sent."""
_FORMS = (
    # vLLM: "... too large: 16384. This model's maximum context length is 8192 tokens and your request has 5000 input
    # tokens (16384 > 8192 - 5000)."
    re.compile(r"\d > (?P<most>\d{1,9}) - (?P<prompt>\d{1,9})\b"),
    # OpenAI and the embedded engine: "This model's maximum context length is 8192 tokens. However, you requested 21384
    # tokens (5000 in the messages, 16384 in the completion)."
    re.compile(
        r"maximum context length is (?P<most>\d{1,9}) tokens\D.*?\((?P<prompt>\d{1,9}) in the (?:messages|prompt)"
    ),
    # OpenAI: "max_tokens is too large: 16384. This model supports at most 4096 completion tokens, ..."
    re.compile(r"supports at most (?P<most>\d{1,9}) completion tokens"),
    # Anthropic: "max_tokens: 16384 > 8192, which is the maximum allowed number of output tokens for ..."
    re.compile(r"max_tokens: \d{1,9} > (?P<most>\d{1,9}), which is the maximum"),
    # Anthropic: "input length and `max_tokens` exceed context limit: 190000 + 16384 > 200000, ..."
    re.compile(r"exceed context limit: (?P<prompt>\d{1,9}) \+ \d{1,9} > (?P<most>\d{1,9})\b"),
)


def room_for_answer(message: str, limit: int) -> int | None:
    """The tokens that a refused call could have had, fewer than `limit`; None: it was refused for something else."""
    for form in _FORMS:
        if found := form.search(message[:LONGEST]):
            room = int(found["most"]) - int(found.groupdict().get("prompt") or 0)
            return room if 1 <= room < limit else None
    return None
