"""Whether an engine really applies the adapter that it says it has loaded.

vLLM may answer "Success" and then serve the base byte for byte, or lose an adapter while it sleeps
(docs/serving.md, "Adapters on replicas"). So what it says of one training example is compared with what the trainer said
of it (`trainer.contract.Probe`). Written here: `tuned` and `base` are the engine's log-probabilities of the adapter and of
its base, `reference` and `base_reference` the trainer's; a distance is the mean absolute difference per token.

1. With a probe of the trainer's, tuned must be near the reference: within `tolerance` for float32, twice that for 16-bit
   numbers. An adapter trained on a 4-bit base (nf4) is served on the base that is not quantized: there the distance of
   the two bases is allowed beside it, twice the tolerance more.
2. Where the adapter changes the trainer's numbers measurably (0.01 for float32, 0.05 else), it must change the engine's
   nearer to that change than to no change at all: (tuned - base) is nearer to (reference - base_reference) than to zero.
   A change cancels what the engine's arithmetic or the trainer's quantization shift in both.
3. Without one (adapters of older versions, and adapters whose trainer had no memory for it), and for weights of their own,
   the numbers must differ from the base's somewhere.
4. An engine that does not know `prompt_logprobs` is not probed, and the result says so.
"""

import asyncio
from pathlib import Path

import msgspec

from gateway.errors import UpstreamRefused
from gateway.upstreams.engine import Engine
from trainer.contract import PROBE, Probe, decode_probe

PROMPT = "The quick brown fox jumps over the lazy dog. Question: what is asked for here? Answer: a number of words."
"""For models without a probe of the trainer's."""
MEASURABLE = {"float32": 0.01}
LOOSER = {"float32": 1.0}
MEASURABLE_ELSE, LOOSER_ELSE = 0.05, 2.0
QUANTIZED = "nf4"


class Measured(msgspec.Struct, kw_only=True, frozen=True):
    """What a probe found."""

    applied: bool | None
    """None: it could not be measured."""
    reason: str
    """Why not, or what was compared; a sentence."""
    tokens: int = 0
    difference: float | None = None
    """To the trainer's numbers of the adapter: mean absolute difference per token."""
    allowed: float | None = None
    from_base: float | None = None
    """To the engine's own base."""
    expected_from_base: float | None = None
    """The trainer's adapter to the trainer's base."""


async def probe(engine: Engine, model: str, base: str, directory: Path, *, tolerance: float) -> Measured:
    """Ask the engine, and compare.

    Args:
        model, base: as the engine calls them.
        directory: of the model's files, as this machine sees it.
        tolerance: of `compare`.

    Raises:
        UpstreamRefused: the engine does not know the model.
        UpstreamFailed: it is away, or broke over it.
    """
    known = await asyncio.to_thread(read_probe, directory)
    prompt = known.token_ids if known else PROMPT
    try:
        tuned, unchanged = await asyncio.gather(
            engine.prompt_logprobs(model, prompt), engine.prompt_logprobs(base, prompt)
        )
    except UpstreamRefused as refusal:
        if refusal.upstream_status == 404 and model in str(refusal):
            raise
        return Measured(applied=None, reason=f"This engine says nothing of a prompt's tokens: {refusal}")
    if tuned is None or unchanged is None:
        return Measured(applied=None, reason="This engine says nothing of a prompt's tokens (prompt_logprobs).")
    return compare(known, tuned, unchanged, tolerance=tolerance)


def read_probe(directory: Path) -> Probe | None:
    """What lies beside the weights; None where there is none, or none that can be read."""
    try:
        found = decode_probe((directory / PROBE).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    fits = 1 <= found.first < len(found.token_ids) == found.first + len(found.logprobs)
    return found if fits and len(found.base_logprobs or found.logprobs) == len(found.logprobs) else None


def compare(known: Probe | None, tuned: list[float], base: list[float], *, tolerance: float) -> Measured:
    """The rules of this module.

    Args:
        tuned, base: the engine's numbers of every token but the first of the probe's (or of PROMPT).
        tolerance: nats per token.
    """
    if known is None:
        return _differs(tuned, base, "The model has no probe of the trainer's.")
    tuned, base = tuned[known.first - 1 :], base[known.first - 1 :]
    if len(tuned) != len(known.logprobs):
        return Measured(
            applied=None, reason=f"The engine read {len(tuned)} of {len(known.logprobs)} tokens of the probe."
        )
    if known.base_logprobs is None and (same := _differs(tuned, base, "")).applied is False:
        return same
    found = _near(known, tuned, base, tolerance)
    if not found.applied or known.base_logprobs is None:
        return found
    return _changes(known, known.base_logprobs, found, tuned, base)


def distance(one: list[float], other: list[float]) -> float:
    """Mean absolute difference."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def _near(known: Probe, tuned: list[float], base: list[float], tolerance: float) -> Measured:
    """Rule 1."""
    allowed = tolerance * LOOSER.get(known.dtype, LOOSER_ELSE)
    if known.dtype == QUANTIZED and known.base_logprobs is not None:
        allowed += distance(base, known.base_logprobs)
    found = distance(tuned, known.logprobs)
    applied = found <= allowed
    word = "within" if applied else "more than"
    return Measured(
        applied=applied,
        reason=f"The engine's log-probabilities are {found:.4g} from the trainer's, {word} the {allowed:.4g} allowed.",
        tokens=len(tuned),
        difference=found,
        allowed=allowed,
        from_base=distance(tuned, base),
        expected_from_base=distance(known.logprobs, known.base_logprobs) if known.base_logprobs is not None else None,
    )


def _changes(
    known: Probe, base_reference: list[float], found: Measured, tuned: list[float], base: list[float]
) -> Measured:
    """Rule 2."""
    expected = [ours - theirs for ours, theirs in zip(known.logprobs, base_reference, strict=True)]
    nothing = [0.0] * len(expected)
    if distance(expected, nothing) <= MEASURABLE.get(known.dtype, MEASURABLE_ELSE):
        return found
    change = [ours - theirs for ours, theirs in zip(tuned, base, strict=True)]
    if distance(change, expected) < distance(change, nothing):
        return found
    reason = (
        f"The adapter changes the engine's log-probabilities by {distance(change, nothing):.4g} a token where the trainer "
        f"measured {distance(expected, nothing):.4g}: the engine answers as the base does."
    )
    return msgspec.structs.replace(found, applied=False, reason=reason)


def _differs(tuned: list[float], base: list[float], note: str) -> Measured:
    """Rule 3."""
    size = min(len(tuned), len(base))
    from_base = distance(tuned[:size], base[:size])
    applied = tuned != base
    what = "differ from the base's." if applied else "are the base's to the last digit: it is not applied."
    reason = f"{note} The engine's log-probabilities of it {what}".strip()
    return Measured(applied=applied, reason=reason, tokens=size, from_base=from_base)
