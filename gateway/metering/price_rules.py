"""What a price must keep to that comes through the API."""

from gateway.errors import InvalidRequest
from gateway.kit.money import MAX_PRICE_USD
from gateway.metering.prices import Price
from gateway.protocol.moments import LAST_SECOND
from gateway.protocol.prices import NULL, PriceCreate
from gateway.protocol.usd import nano_of

MODEL_LENGTH = 256
MOST_TOKENS = 2**31 - 1


def price_of(wanted: PriceCreate) -> Price:
    """In nano-dollars. Raises InvalidRequest, which names the field."""
    fresh, cached = _nano(wanted, "input"), _if_given(wanted, "cached_input")
    return Price(
        input=fresh,
        cached_input=fresh if cached is None else cached,
        output=_nano(wanted, "output"),
        request=_if_given(wanted, "per_request") or 0,
        training=_if_given(wanted, "training"),
        training_hour=_if_given(wanted, "training_hour"),
        max_output_tokens=_tokens(wanted.max_output_tokens),
    )


def check_model(name: str) -> str:
    """Raises InvalidRequest."""
    if not name.strip() or len(name) > MODEL_LENGTH or not name.isprintable():
        message = (
            f"Invalid 'model': expected the name of a model as clients call it, of at most {MODEL_LENGTH} letters."
        )
        raise InvalidRequest(message, param="model")
    return name


def check_moment(seconds: int | None) -> int | None:
    """Raises InvalidRequest."""
    if seconds is not None and not 0 <= seconds <= LAST_SECOND:
        message = f"Invalid 'effective_at': expected Unix seconds of at most {LAST_SECOND}, got {seconds}."
        raise InvalidRequest(message, param="effective_at")
    return seconds


def _nano(wanted: PriceCreate, name: str) -> int:
    return nano_of(getattr(wanted, name), name, highest=MAX_PRICE_USD)


def _if_given(wanted: PriceCreate, name: str) -> int | None:
    return None if bytes(getattr(wanted, name)) == bytes(NULL) else _nano(wanted, name)


def _tokens(given: int | None) -> int | None:
    if given is not None and not 1 <= given <= MOST_TOKENS:
        message = f"Invalid 'max_output_tokens': expected an integer from 1 to {MOST_TOKENS}, got {given}."
        raise InvalidRequest(message, param="max_output_tokens")
    return given
