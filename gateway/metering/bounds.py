"""What a call can cost at most, before it is sent.

The prompt: a token is at least one byte of the text that it stands for, and JSON makes text longer, so the bytes of the
body bound the tokens of what was written there. Beside it the chat template writes some of its own: MESSAGE_TOKENS a
message, TEMPLATE_TOKENS in all, TOOLS_TOKENS more where tools are offered. What is no text has an allowance from the
settings ([budgets] image_tokens, file_tokens). Input that the upstream may have cached is not assumed to be cheaper.

The answer: `max_completion_tokens` or `max_tokens` for each choice; `best_of` counts what is not shown. Where the caller
left it open, the model's own maximum, which its price names, or [budgets] assumed_output_tokens; then the answer may be
limited to what a budget can pay (`Bound.limits`). The tokens of `prediction` are billed like an answer.

An upstream that sends more than it was asked for is metered as it is.
"""

import re
from collections.abc import Mapping

import msgspec

from gateway.errors import InvalidRequest
from gateway.metering.prices import MILLION, Price
from gateway.protocol.envelope import (
    ABSENT,
    ChatEnvelope,
    CompletionEnvelope,
    Envelope,
    is_absent,
    starts_list,
    whole_number,
)
from gateway.settings import BudgetSettings

MESSAGE_TOKENS = 16
TEMPLATE_TOKENS = 256
TOOLS_TOKENS = 512
COMPLETION_TOKENS = 16
"""OpenAI's default of `max_tokens` in /completions (contract section 4)."""
ENOUGH_TOKENS = 1024
"""Of an answer that has no limit: fewer would disappoint, so rather wait for money a moment."""
LEAST_TOKENS = 16
"""Fewer are no answer."""
MOST_TOKENS = 2**31 - 1
"""More are a mistake."""


class _Message(msgspec.Struct):
    content: msgspec.Raw = ABSENT


class _Part(msgspec.Struct):
    type: str = ""


_bracket = re.compile(rb"\[")
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_part = msgspec.json.Decoder(_Part).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """How much a call can use."""

    prompt: int
    choices: int
    """Answers that are written."""
    asked: int | None
    """The most tokens of each that the call allows; None: it does not say."""
    predicted: int = 0
    """Billed beside the answer, if the prediction was wrong."""
    usual: int | None = None
    """What the API has as `asked` when the call does not say."""

    def cost(self, price: Price, answer: int) -> int:
        """Nano-dollars at most, where each answer has that many tokens; rounded as `gateway.metering.cost.cost` does it: up."""
        millionths = self.prompt * price.any_input + (self.choices * answer + self.predicted) * price.output
        return price.request - (-millionths // MILLION)

    def affordable(self, price: Price, amount: int) -> int:
        """The longest answer that `amount` pays for; 1 at least, because 0 is no limit that an upstream takes."""
        if not price.output:
            return MOST_TOKENS
        beside = self.prompt * price.any_input + self.predicted * price.output
        left = (amount - price.request) * MILLION - beside
        return max(1, left // (self.choices * price.output))


class Bound(msgspec.Struct, frozen=True):
    """What a call can cost, in nano-dollars, whichever of its models answers."""

    most: int
    tokens: Tokens
    models: Mapping[str, tuple[Price, int]]
    """Model -> its price, and the tokens of its longest answer."""

    @property
    def enough(self) -> int:
        """For an answer that does not disappoint; of a call that names its limit, the same as `most`."""
        return self._of(ENOUGH_TOKENS)

    @property
    def least(self) -> int:
        """For any answer at all; of a call that names its limit, the same as `most`."""
        return self._of(LEAST_TOKENS)

    def limits(self, amount: int) -> dict[str, int]:
        """Model -> the tokens that an answer may have for the call to cost at most `amount`, where the call does not say
        it itself and the model does not keep to it by its nature."""
        if self.tokens.asked is not None:
            return {}
        limits: dict[str, int] = {}
        for model, (price, fitting) in self.models.items():
            if amount < self.most:
                fitting = min(fitting, self.tokens.affordable(price, amount))
            if fitting != price.max_output_tokens:
                limits[model] = fitting
        return limits

    def _of(self, answer: int) -> int:
        if self.tokens.asked is not None:
            return self.most
        return max(self.tokens.cost(price, min(longest, answer)) for price, longest in self.models.values())


def bound(envelope: Envelope, body: bytes, prices: Mapping[str, Price], settings: BudgetSettings) -> Bound:
    """What a call can cost.

    Args:
        prices: of every model that may answer, at least one.

    Raises:
        InvalidRequest: a limit that is no positive number; nothing could be said of the cost then.
    """
    tokens = tokens_of(envelope, body, settings)
    named = tokens.asked or tokens.usual
    models: dict[str, tuple[Price, int]] = {}
    most = 0
    for model, price in prices.items():
        longest = named or price.max_output_tokens or settings.assumed_output_tokens
        models[model] = price, longest
        if (cost := tokens.cost(price, longest)) > most:
            most = cost
    return Bound(most, tokens, models)


def tokens_of(envelope: Envelope, body: bytes, settings: BudgetSettings) -> Tokens:
    """Bounds of what a call can use. Raises InvalidRequest as `bound`."""
    n = 1 if envelope.n is ABSENT else _count(envelope.n, "n") or 1
    if isinstance(envelope, CompletionEnvelope):
        written = max(n, _count(envelope.best_of, "best_of") or 1) * _prompts(envelope.prompt)
        asked = _count(envelope.max_tokens, "max_tokens")
        return Tokens(len(body) + TEMPLATE_TOKENS, written, asked, usual=COMPLETION_TOKENS)
    asked = None
    if envelope.max_completion_tokens is not ABSENT:
        asked = _count(envelope.max_completion_tokens, "max_completion_tokens")
    if envelope.max_tokens is not ABSENT and (other := _count(envelope.max_tokens, "max_tokens")) is not None:
        asked = other if asked is None else max(asked, other)
    predicted = 0
    if envelope.prediction is not ABSENT and not is_absent(envelope.prediction):
        predicted = len(envelope.prediction)
    return Tokens(_prompt(envelope, body, settings), n, asked, predicted)


def _prompt(envelope: ChatEnvelope, body: bytes, settings: BudgetSettings) -> int:
    total = len(body) + TEMPLATE_TOKENS + MESSAGE_TOKENS * len(envelope.messages)
    tools, functions = envelope.tools, envelope.functions
    if (tools is not ABSENT and not is_absent(tools)) or (functions is not ABSENT and not is_absent(functions)):
        total += TOOLS_TOKENS
    if body.find(b"[", body.find(b"[") + 1) < 0:  # the messages are the one list that there is
        return total
    for message in envelope.messages:
        for part in _parts(message):
            total += _beside_its_bytes(part, settings)
    return total


def _parts(message: msgspec.Raw) -> list[msgspec.Raw]:
    """Of a content that is a list; none of one that is a text, or nothing that an upstream would take."""
    if not _bracket.search(message):
        return []
    try:
        content = _decode_message(message).content
        return _decode_list(content) if starts_list(content) else []
    except (ValueError, RecursionError):
        return []


def _beside_its_bytes(part: msgspec.Raw, settings: BudgetSettings) -> int:
    """Tokens of a part that are not bounded by its bytes; below 0 for an image, whose bytes are no text. Sound has more
    bytes than tokens."""
    try:
        kind = _decode_part(part).type
    except (ValueError, RecursionError):
        return settings.file_tokens
    match kind:
        case "text" | "refusal" | "input_audio":
            return 0
        case "image_url":
            return settings.image_tokens - len(part)
        case _:
            return settings.file_tokens


def _prompts(prompt: msgspec.Raw) -> int:
    """How many a /completions call has: a text or a list of tokens is one; else each of a list is."""
    if not starts_list(prompt):
        return 1
    try:
        each = _decode_list(prompt)
    except (ValueError, RecursionError):
        return 1
    return len(each) if each and bytes(memoryview(each[0])[:1]) in (b'"', b"[") else 1


def _count(raw: msgspec.Raw, param: str) -> int | None:
    if is_absent(raw):
        return None
    count = whole_number(raw)
    if not 1 <= count <= MOST_TOKENS:
        raise InvalidRequest(f"Invalid '{param}': a whole number from 1 to {MOST_TOKENS} is expected.", param=param)
    return count
