"""Every refusal a client can get, and the one function that renders it.

    Refusal
    ├── InvalidRequest                 400  the call cannot be understood; `param` names the field
    │   ├── MissingParameter           400
    │   ├── InvalidJson                400
    │   ├── NoEncryptionKey            400  it would have to keep a secret, and has no `encryption_key` to seal it with
    │   ├── ContentTooLarge            413
    │   ├── RangeNotSatisfiable        416
    │   ├── PriceMissing               400  of a model, called by a key with a hard budget
    │   ├── Withheld                   400  an answer that broke a rule of its route: in the log; its reply is a 200 that says so
    │   └── ClientLeft                 400  in the middle of its own request; nobody hears this
    ├── Unauthenticated                401  no key, or one that is not valid
    │   └── UnknownKey                 401  one that this process does not know
    ├── Forbidden                      403  a valid key that may not do this
    ├── NotFound                       404  also what another project owns
    │   ├── ModelNotFound              404
    │   ├── UnknownUrl                 404
    │   └── MethodNotAllowed           405
    ├── Conflict                       409  the object's state does not allow it
    ├── TooManyAttempts                429  to sign in; locked for a while
    ├── BudgetExhausted                429  a hard budget does not pay for it; trying again does not help
    ├── BudgetBusy                     429  the rest of a hard budget is reserved for calls under way
    ├── RateLimited                429  too much at a time; `retry-after` says when
    ├── UpstreamRefused            as sent  an upstream's own 4xx, passed on
    ├── UpstreamFailed                 502  an upstream broke, or cannot be reached
    │   └── UpstreamTimeout            504
    ├── Unavailable                    503  a part of this service is away; try again
    │   ├── ModelLoading               503
    │   ├── Unconfirmed                503  the answer to a COMMIT was lost: it may have been done
    │   └── SpoolFull                  503  the call could not be recorded, so nobody was asked
    ├── ModelUnservable                503  a model that the engine refuses; trying again does not help
    ├── ExportFailed                   500  weights that could not be merged
    └── Surprise                       500  a bug here; the message says nothing, the log says all

A refusal is raised, never returned. Statuses, types and codes follow contract section 0 (OpenAI's error object:
`{"error": {"message", "type", "param", "code"}}`, all four keys always present).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import msgspec

ECHO_LIMIT = 500
"""Characters of a client's own input that an error message may repeat."""


class ErrorObject(msgspec.Struct, kw_only=True):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct):
    error: ErrorObject


class Refusal(Exception):
    """Base of every refusal.

    Args:
        message: one sentence: what was wrong and how to mend it.
        param: the field of the request, where there is one.
        code: overrides the class's code.
        headers: added to the HTTP response.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.headers = headers or {}
        if code is not None:
            self.code = code

    def body(self) -> ErrorBody:
        return ErrorBody(ErrorObject(message=str(self), type=self.type, param=self.param, code=self.code))


class InvalidRequest(Refusal):
    code = "invalid_value"


class MissingParameter(InvalidRequest):
    code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Missing required parameter: '{param}'.", param=param)


class NoEncryptionKey(InvalidRequest):
    """Something would have to be kept sealed. Args: what: it, as in "the key that evals ask with"."""

    code = "no_encryption_key"

    def __init__(self, what: str, *, param: str | None = None) -> None:
        super().__init__(
            f"This gateway has no encryption key, so it cannot keep {what}. Set encryption_key (TUNEWAY_ENCRYPTION_KEY, 32"
            " random bytes: `openssl rand -base64 32`), the same in every process, and start it again.",
            param=param,
        )


class InvalidJson(InvalidRequest):
    code = None


class ContentTooLarge(InvalidRequest):
    status = 413
    code = "content_too_large"


class PriceMissing(InvalidRequest):
    """A hard budget cannot bound what it does not know the price of."""

    code = "price_missing"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model `{model[:ECHO_LIMIT]}` has no price, and your key has a hard budget. Ask an administrator to give "
            "it one: POST /v1/prices, or [[prices]] in the settings.",
            param="model",
        )


class Withheld(InvalidRequest):
    """An answer that does not pass a check of its route. The client gets a reply with finish_reason `content_filter`, and
    the log this error."""

    code = "content_filter"

    def __init__(self, route: str, checks: Sequence[str]) -> None:
        named = ", ".join(f"`{name}`" for name in checks)
        super().__init__(f"The answer was withheld: it does not pass {named} of the route `{route}`.")


class RangeNotSatisfiable(InvalidRequest):
    """A Range that begins behind the end of a file of `size` bytes."""

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The file has only {size} bytes.", headers={"content-range": f"bytes */{size}"})


class ClientLeft(InvalidRequest):
    """The connection ended before the request had arrived: no fault of this service."""

    code = None

    def __init__(self) -> None:
        super().__init__("The request ended before its body was complete.")


class Unauthenticated(Refusal):
    status = 401
    code = "invalid_api_key"


class UnknownKey(Unauthenticated):
    def __init__(self, shown: str) -> None:
        super().__init__(f"Incorrect API key provided: {shown}. Ask your administrator for a valid key.")


class Forbidden(Refusal):
    status = 403
    code = "insufficient_permissions"


class NotFound(Refusal):
    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model `{model[:ECHO_LIMIT]}` does not exist or you do not have access to it.", param="model"
        )


class UnknownUrl(NotFound):
    code = "unknown_url"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Unknown request URL: {method} {path[:ECHO_LIMIT]}. See GET /v1/models for a first call.")


class MethodNotAllowed(NotFound):
    status = 405
    code = "method_not_supported"

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"Not allowed to {method} on {path[:ECHO_LIMIT]}.")


class Conflict(Refusal):
    status = 409
    code = "conflict"


class TooManyAttempts(Refusal):
    """Wrong passwords or codes; `seconds` until the next one is looked at."""

    status = 429
    code = "too_many_attempts"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many failed attempts. Please try again in {seconds} seconds.", headers={"retry-after": str(seconds)}
        )


class BudgetExhausted(Refusal):
    """As OpenAI refuses whoever is over quota, and its SDKs are told not to try again."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"x-should-retry": "false"})


class BudgetBusy(Refusal):
    status = 429
    type = "requests"
    code = "budget_reserved"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"retry-after": "1"})


class RateLimited(Refusal):
    """As OpenAI refuses it: the error's type is what there is too much of.

    Args:
        limit: the name of the limit that was short, as the settings have it.
        shared: it is one of the project, for all its keys together.
    """

    status = 429
    code = "rate_limit_exceeded"

    def __init__(
        self, message: str, *, type: Literal["requests", "tokens"], headers: dict[str, str], limit: str, shared: bool
    ) -> None:
        super().__init__(message, headers=headers)
        self.limited, self.limit, self.shared = type, limit, shared

    def body(self) -> ErrorBody:
        return ErrorBody(ErrorObject(message=str(self), type=self.limited, param=None, code=self.code))


class UpstreamRefused(Refusal):
    """An upstream's own 4xx with its error object: the client's request was at fault, and it knows best why."""

    def __init__(self, status: int, error: ErrorObject, headers: dict[str, str] | None = None) -> None:
        super().__init__(error.message, param=error.param, headers=headers)
        self.upstream_status = status
        self.error = error
        self.code = error.code

    def body(self) -> ErrorBody:
        return ErrorBody(self.error)


class UpstreamFailed(Refusal):
    """An upstream did not do its work.

    Args:
        answered: the HTTP status that it sent; None where it sent none, or a good one and then a broken body.
        reached: False when it could not be reached, or hung up before it answered.
    """

    status = 502
    type = "server_error"
    code = "upstream_failed"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        answered: int | None = None,
        reached: bool = True,
    ) -> None:
        super().__init__(message, code=code, headers=headers)
        self.answered = answered
        self.reached = reached


class UpstreamTimeout(UpstreamFailed):
    status = 504
    code = "upstream_timeout"


class Unavailable(Refusal):
    status = 503
    type = "server_error"
    code = "service_unavailable"

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message, headers={"retry-after": str(retry_after)})


class Unconfirmed(Unavailable):
    """The database went away in the middle of a COMMIT: what the transaction wrote is there, or is not."""


class ModelLoading(Unavailable):
    code = "model_loading"


class SpoolFull(Unavailable):
    """The exchange log takes nothing: what cannot be recorded must not be paid for. Args: why: a sentence."""

    code = "exchange_log_full"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why} So no model was asked, and nothing is charged; please retry, and tell your administrator if this lasts.",
            retry_after=5,
        )


class ModelUnservable(Refusal):
    """The model exists, but its files are gone or the engine does not take them: SDKs need not try again."""

    status = 503
    type = "server_error"
    code = "model_unavailable"

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(f"The model `{model}` cannot be served: {problem}", headers={"x-should-retry": "false"})


class ExportFailed(Refusal):
    status = 500
    type = "server_error"
    code = "export_failed"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"x-should-retry": "false"})


class Surprise(Refusal):
    status = 500
    type = "server_error"
    code = None

    def __init__(self) -> None:
        super().__init__(
            "The server had an error while processing your request. Please retry; the request id is in the log."
        )


def refusal_of(error: BaseException) -> Refusal:
    """The refusal that `error` amounts to: itself, or a Surprise (the web framework's own: gateway/framework_errors.py)."""
    return error if isinstance(error, Refusal) else Surprise()


def to_openai_error(refusal: Refusal) -> tuple[int, bytes, dict[str, str]]:
    """Status, JSON body and headers of a refusal: the only renderer, for responses and for mid-stream frames."""
    status = getattr(refusal, "upstream_status", refusal.status)
    return status, msgspec.json.encode(refusal.body()), refusal.headers


def decode_error_object(body: bytes) -> ErrorObject | None:
    """The error object inside an upstream's reply, normalised to strings, or None when there is none.

    vLLM sends an integer `code` and some providers send the bare inner object; both are accepted.
    """
    try:
        outer: Any = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        return None
    inner: Any = outer.get("error", outer) if isinstance(outer, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("message"), str):
        return None
    text = {name: inner[name] for name in ("type", "param", "code") if isinstance(inner.get(name), str)}
    return ErrorObject(message=inner["message"], type=text.pop("type", "invalid_request_error"), **text)
