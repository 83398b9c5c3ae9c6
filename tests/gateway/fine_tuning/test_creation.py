from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.fine_tuning import creation
from gateway.protocol.fine_tuning import JobCreate


def wanted(**fields: Any) -> JobCreate:
    return msgspec.convert({"model": "base", "training_file": "file-1", **fields}, JobCreate)


def hyperparameters(**fields: Any) -> dict[str, Any]:
    method: dict[str, Any] = msgspec.to_builtins(creation.method_of(wanted(**fields)))
    return method["supervised"]["hyperparameters"]


class TestMethodOf:
    AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}

    def test_default_is_supervised_and_automatic(self) -> None:
        assert hyperparameters() == self.AUTO
        assert hyperparameters(method={"type": "supervised"}) == self.AUTO
        assert hyperparameters(method={"type": "supervised", "supervised": {}}) == self.AUTO

    def test_deprecated_place_counts_where_the_new_one_is_empty(self) -> None:
        assert hyperparameters(hyperparameters={"n_epochs": 2})["n_epochs"] == 2
        assert hyperparameters(hyperparameters={"n_epochs": 2}, method={"type": "supervised"})["n_epochs"] == 2

    def test_both_places_are_refused_rather_than_one_ignored(self) -> None:
        with pytest.raises(InvalidRequest, match="not both") as caught:
            hyperparameters(
                hyperparameters={"n_epochs": 2},
                method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
            )
        assert caught.value.param == "hyperparameters"


class TestFingerprint:
    def test_same_key_and_same_json_however_written(self) -> None:
        mark = creation.fingerprint("key_1", b'{"a": 1, "b": {"c": 2, "d": 3}}')
        assert mark == creation.fingerprint("key_1", b'{"b":{"d":3,"c":2},"a":1}')
        assert mark != creation.fingerprint("key_2", b'{"a": 1, "b": {"c": 2, "d": 3}}')
        assert mark != creation.fingerprint("key_1", b'{"a": 1, "b": {"c": 2, "d": 4}}')
