"""What the web framework refuses is told like any other refusal."""

import pytest
from litestar.exceptions import ClientException, HTTPException, MethodNotAllowedException, NotFoundException

from gateway.errors import (
    ClientLeft,
    Conflict,
    ContentTooLarge,
    InvalidRequest,
    MethodNotAllowed,
    Refusal,
    Surprise,
    UnknownUrl,
)
from gateway.framework_errors import LEFT, refusal_behind


class TestRefusalBehind:
    def test_a_refusal_is_itself(self) -> None:
        refusal = Conflict("m")
        assert refusal_behind(refusal) is refusal

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (NotFoundException(), UnknownUrl),
            (MethodNotAllowedException(), MethodNotAllowed),
            (HTTPException(status_code=413), ContentTooLarge),
            (ClientException("bad form"), InvalidRequest),
            (ClientException(LEFT), ClientLeft),
            (HTTPException(status_code=500, detail="secret"), Surprise),
            (RuntimeError("secret"), Surprise),
            (KeyboardInterrupt(), Surprise),
        ],
    )
    def test_others_are_mapped(self, error: BaseException, kind: type[Refusal]) -> None:
        refusal = refusal_behind(error, method="GET", path="/x")
        assert type(refusal) is kind
        assert "secret" not in str(refusal)
