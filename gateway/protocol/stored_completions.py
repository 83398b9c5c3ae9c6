"""Stored chat completions (contract section 1): what is asked of them, and their messages."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class StoredUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    metadata: dict[str, str] | None
    """Takes the place of what there was; null empties it."""


class StoredMessage(msgspec.Struct, kw_only=True):
    """A message that was sent. OpenAI's schema says that it is the assistant's; its API gives what was asked, too."""

    id: str
    """The completion's, and the place of the message in it."""
    role: str
    content: str | None
    """The text, also of a message in parts."""
    refusal: str | None = None
    name: str | None = None
    content_parts: list[dict[str, Any]] | None = None
    """Text and images, of a message that came in parts."""
    tool_calls: list[Any] | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET
    function_call: Any = UNSET
