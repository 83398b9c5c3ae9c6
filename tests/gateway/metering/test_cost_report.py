"""Line items: what was charged, part by part."""

from typing import Any

from gateway.metering.cost_report import line_items, models_of
from gateway.metering.usage_report import ItemisedSum


def summed(kind: str = "call", **changes: Any) -> ItemisedSum:
    values: dict[str, Any] = {
        "requests": 3, "input_tokens": 12, "cached_input_tokens": 4, "output_tokens": 5,
        "input_nano": 40, "cached_input_nano": 2, "output_nano": 50, "request_nano": 6,
    }  # fmt: skip
    values |= changes
    total = sum(value for name, value in values.items() if name.endswith("_nano"))
    return ItemisedSum(bucket=0, group=("proj_1", "m", kind), cost_nano=total, **{"unpriced": 0} | values)


def shown(cost: ItemisedSum) -> list[tuple[str, int, int, str]]:
    found = [(item.name, item.nano, item.quantity, item.unit) for item in line_items(cost)]
    assert sum(nano for _, nano, _, _ in found) == cost.cost_nano
    return found


class TestLineItems:
    def test_of_calls(self) -> None:
        assert shown(summed()) == [
            ("m, input", 40, 8, "tokens"),
            ("m, cached input", 2, 4, "tokens"),
            ("m, output", 50, 5, "tokens"),
            ("m, requests", 6, 3, "requests"),
        ]

    def test_leave_out_what_was_neither_used_nor_charged(self) -> None:
        bare = summed(cached_input_tokens=0, cached_input_nano=0, request_nano=0)
        assert [name for name, *_ in shown(bare)] == ["m, input", "m, output"]

    def test_show_cached_tokens_that_cost_nothing(self) -> None:
        assert ("m, cached input", 0, 4, "tokens") in shown(summed(cached_input_nano=0))

    def test_show_what_has_no_price(self) -> None:
        free = summed(input_nano=0, cached_input_nano=0, output_nano=0, request_nano=0, unpriced=3)
        assert shown(free)[0] == ("m, input", 0, 8, "tokens")

    def test_a_training_is_one(self) -> None:
        training = summed("training", cached_input_tokens=0, output_tokens=0, cached_input_nano=0, output_nano=0)
        assert shown(training) == [("m, training", 46, 12, "tokens")]


class TestModelsOf:
    def test_is_what_stands_before_the_last_comma(self) -> None:
        assert models_of(["m, cached input", "a, b, output", "nothing"]) == ["m", "a, b", ""]
