"""Every error a client of the engine can get, and how it is written on the wire.

Chat and completions answer as OpenAI does (string codes); the adapter endpoints answer as vLLM does (`code` is the
HTTP status), because that is what its callers look for.
"""

from typing import Any


class Refusal(Exception):
    """An error reply: HTTP status and OpenAI's four error fields."""

    def __init__(
        self, status: int, message: str, *, kind: str, param: str | None = None, code: str | int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after: int | None = None
        """Seconds, told in a header."""
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class Invalid(Refusal):
    """400: the request is malformed or out of range."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(400, message, kind="invalid_request_error", param=param, code=code)


class Unsupported(Invalid):
    """400: vLLM could do this, the embedded engine cannot."""

    def __init__(self, feature: str, param: str) -> None:
        super().__init__(
            f"The embedded engine does not support {feature}. Serve this model with vLLM to use it.",
            param,
            "unsupported_parameter",
        )


class ContextTooLong(Invalid):
    """400: the prompt (or prompt plus answer) does not fit; clients match on the code and on this sentence."""

    def __init__(self, limit: int, prompt_tokens: int, param: str, max_tokens: int | None = None) -> None:
        noun = "messages" if param == "messages" else "prompt"
        asked = f"your {noun} resulted in {prompt_tokens} tokens"
        if max_tokens is not None:
            asked = (
                f"you requested {prompt_tokens + max_tokens} tokens "
                f"({prompt_tokens} in the {noun}, {max_tokens} in the completion)"
            )
        super().__init__(
            f"This model's maximum context length is {limit} tokens. However, {asked}. Please reduce the length of "
            f"the {noun}{' or completion' if max_tokens is not None else ''}.",
            param,
            "context_length_exceeded",
        )


class ModelNotFound(Refusal):
    def __init__(self, model: str) -> None:
        super().__init__(
            404,
            f"The model `{model}` does not exist.",
            kind="invalid_request_error",
            param="model",
            code="model_not_found",
        )


class RouteNotFound(Refusal):
    def __init__(self, status: int, method: str, path: str) -> None:
        super().__init__(status, f"Invalid URL ({method} {path})", kind="invalid_request_error")


class GenerationFailed(Refusal):
    """500: the model thread raised; the reason is in the engine's log too."""

    def __init__(self, reason: str) -> None:
        super().__init__(500, f"The engine failed to answer: {reason}", kind="server_error")


class ShuttingDown(Refusal):
    def __init__(self) -> None:
        super().__init__(503, "The engine is shutting down.", kind="server_error")


class Asleep(Refusal):
    """503: the weights are out of memory, or on their way out or in."""

    def __init__(self, state: str) -> None:
        message = f"The engine is {state}: its memory serves other work for a while. Please retry later."
        super().__init__(503, message, kind="server_error", code="engine_asleep")
        self.retry_after = 5


class WakingFailed(Refusal):
    """500: the base model cannot be loaded again now."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            500, f"The engine sleeps on, because its model cannot be loaded: {reason}", kind="server_error"
        )


class WrongQuery(Refusal):
    """400, as vLLM answers to what it cannot read in a URL."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(400, message, kind="Bad Request", param=f"query.{name}", code=400)


class AdapterRefused(Refusal):
    """The adapter endpoints' errors, with vLLM's types; `code` repeats the status."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(status, message, kind=kind, code=status)

    @classmethod
    def invalid(cls, message: str) -> "AdapterRefused":
        return cls(400, "InvalidUserInput", message)

    @classmethod
    def unknown(cls, message: str) -> "AdapterRefused":
        return cls(404, "NotFoundError", message)

    @classmethod
    def broken(cls, name: str, reason: str) -> "AdapterRefused":
        """500, as vLLM answers when the files exist but cannot be used."""
        return cls(500, "InternalServerError", f"Loading lora {name} failed: {reason}")
