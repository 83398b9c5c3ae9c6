"""Answers that end in the middle."""

from tests.gateway.guidance.materials import called, only


class TestTokenLimits:
    def test_of_calls_that_bound_themselves(self) -> None:
        cut = [called(n, finish_reason="length", token_limit=16) for n in range(4)]
        [found] = only(called=[*cut, called(9, finish_reason="stop")]).suggestions
        assert found.kind == "token_limit"
        assert "Of these 4 calls 4 name a limit" in found.why
        assert "at most 16 tokens" in found.why

    def test_how_many_bound_themselves_is_told(self) -> None:
        cut = [called(n, finish_reason="length", token_limit=16 if n == 0 else None) for n in range(100)]
        [found] = only(called=cut).suggestions
        assert "Of these 100 calls 1 names a limit: at most 16 tokens in the median." in found.why

    def test_of_calls_that_name_no_limit(self) -> None:
        [found] = only(called=[called(n, finish_reason="length") for n in range(4)]).suggestions
        assert "These calls name no limit" in found.why

    def test_not_of_a_few_in_hundreds(self) -> None:
        cut = [called(n, finish_reason="length") for n in range(2)]
        assert only(called=cut + [called(10 + n, finish_reason="stop") for n in range(200)]).suggestions == []
