"""POST /v1/rules/try (an extension): what rules say of one answer, before they judge or check anything."""

from typing import Any

import msgspec

from judges.rules.written import AnyRule


class RuleTrialRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Rules, and either an answer that is given here or one of the log."""

    rules: list[AnyRule]
    answer: str | None = None
    question: str = ""
    """What `answer` answers to; rules that look at the conversation see it as the message of a user."""
    exchange_id: str | None = None
    """A logged call in its place (`req_...` or `chatcmpl-...`): its first answer, with its tools and its messages."""


class TriedRule(msgspec.Struct, kw_only=True):
    rule: str
    """Its type."""
    passed: bool | None
    """null: it could not be applied."""
    score: float | None
    rationale: str | None
    """Why it is not kept; may quote the answer."""
    error_code: str | None
    """rule, timeout, unreadable or fault (docs/validators.md)."""
    found: dict[str, Any]


class RuleTrial(msgspec.Struct, kw_only=True):
    object: str = "rules.trial"
    passed: bool | None
    """All rules together: false where one is broken, else null where one could not be applied."""
    score: float | None
    """Mean of the rules that could be applied."""
    rules: list[TriedRule]
    """In their order."""
