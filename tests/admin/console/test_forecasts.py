"""When budgets run out."""

from typing import Any

import pytest

from admin.console.forecasts import DAY, Forecast, forecast, fullest

START = 1_795_219_200


def budget(spent: float, limit: float = 10, days: float | None = 30, **more: Any) -> dict[str, Any]:
    window = {
        "starts_at": START,
        "ends_at": None if days is None else START + days * DAY,
        "spent_usd": spent,
        "percent": 100 * spent / limit if limit else 100,
    }
    return {"limit_usd": limit, "hard": True, "window": window} | more


class TestForecast:
    def test_goes_on_as_it_began(self) -> None:
        found = forecast(budget(4), START + 4 * DAY)
        assert found.usd_per_day == pytest.approx(1)
        assert found.runs_out_at == pytest.approx(START + 10 * DAY)

    def test_what_lasts_until_the_window_ends_does_not_run_out(self) -> None:
        assert forecast(budget(1), START + 4 * DAY) == Forecast(pytest.approx(0.25), None, is_used_up=False)
        exactly = forecast(budget(5, days=8), START + 4 * DAY)
        assert exactly.runs_out_at is None

    def test_a_total_runs_out_some_day(self) -> None:
        assert forecast(budget(1, days=None), START + 4 * DAY).runs_out_at == pytest.approx(START + 40 * DAY)

    def test_nothing_spent_never_runs_out(self) -> None:
        assert forecast(budget(0, days=None), START + DAY) == Forecast(0, None, is_used_up=False)

    @pytest.mark.parametrize(("spent", "limit"), [(10, 10), (10.5, 10), (0, 0)])
    def test_what_is_used_up_says_so(self, spent: float, limit: float) -> None:
        assert forecast(budget(spent, limit), START + DAY) == Forecast(None, None, is_used_up=True)

    @pytest.mark.parametrize("elapsed", [-5, 0, 3_599])
    def test_the_first_hour_tells_nothing(self, elapsed: float) -> None:
        assert forecast(budget(4), START + elapsed) == Forecast(None, None, is_used_up=False)


class TestFullest:
    def test_is_that_of_which_the_largest_part_is_spent(self) -> None:
        half, most, soft = budget(5), budget(8), budget(8, hard=False)
        assert fullest([half, soft, most]) is most
        assert fullest([half]) is half
        assert fullest([]) is None
