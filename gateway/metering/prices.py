"""What a model costs."""

from dataclasses import dataclass, field

from gateway.kit.money import nano_from_usd
from gateway.settings import PriceSettings

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Nano-dollars per 1M tokens: an integer for every price that a person writes."""

    input: int
    cached_input: int
    output: int
    request: int = 0
    """For each request, whatever its tokens: nano-dollars."""
    training: int | None = None
    """Per 1M trained tokens; None: a training's tokens cost nothing that is known here."""
    training_hour: int | None = None
    """Per hour of one device in training."""
    max_output_tokens: int | None = None
    """The most that the model ever answers: what a call that names no limit can cost."""

    any_input: int = field(init=False, repr=False, compare=False)
    """The dearer of the two: of input of which nobody knows yet whether it comes from a cache."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "any_input", max(self.input, self.cached_input))


def of_settings(configured: PriceSettings) -> Price:
    cached = configured.input if configured.cached_input is None else configured.cached_input
    return Price(
        input=nano_from_usd(configured.input),
        cached_input=nano_from_usd(cached),
        output=nano_from_usd(configured.output),
        request=nano_from_usd(configured.per_request),
        training=_nano(configured.training),
        training_hour=_nano(configured.training_hour),
        max_output_tokens=configured.max_output_tokens,
    )


def _nano(usd: float | None) -> int | None:
    return None if usd is None else nano_from_usd(usd)
