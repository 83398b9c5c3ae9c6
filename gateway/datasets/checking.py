"""Whether one line is an example that a job can learn from. Light: gateways look at lines, workers at whole files."""

import msgspec

from gateway.datasets.examples import (
    Chat,
    Example,
    decode_chat,
    decode_preference,
    is_sound_chat,
    is_sound_preference,
    message_count,
)
from gateway.datasets.found import Found
from gateway.datasets.lines import MAX_LINE
from gateway.datasets.problems import examine
from gateway.protocol.datasets import Format


def check(raw: bytes, wanted: Format, found: Found) -> Example | None:
    """One line: the example, or None and what is wrong with it in `found`."""
    example = quick_look(raw, wanted)
    return examine(raw, wanted, found) if example is None else example


def quick_look(raw: bytes, wanted: Format) -> Example | None:
    """The example, when it is certainly a good one."""
    if len(raw) > MAX_LINE:
        return None
    try:
        example = decode_chat(raw) if wanted == "chat" else decode_preference(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    sound = is_sound_chat(example) if isinstance(example, Chat) else is_sound_preference(example)
    return example if sound and not _may_repeat_keys(raw, message_count(example)) else None


def _may_repeat_keys(raw: bytes, messages: int) -> bool:
    """Quotes within texts are escaped, so these bytes are keys, or texts that are just these words."""
    return raw.count(b'"messages"') > 1 or raw.count(b'"role"') > messages or raw.count(b'"content"') > messages
