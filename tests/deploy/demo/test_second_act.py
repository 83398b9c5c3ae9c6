"""What the second act tells when something is not as it should be."""

from typing import Any

import pytest

from deploy.demo.second_act import SecondAct


class TestErrors:
    def test_each_reason_is_told_with_how_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def get(path: str) -> dict[str, Any]:
            asked.append(path)
            return {
                "data": [_error("rule", "regex: slow."), *[_error("timeout", "The rules took longer than 30 s.")] * 2]
            }

        act = object.__new__(SecondAct)
        monkeypatch.setattr(act, "_get", get)
        assert act._errors() == "2 timeout (The rules took longer than 30 s.), 1 rule (regex: slow.)"
        assert asked == ["/judgments?source=rule&status=error&limit=100"]


def _error(code: str, rationale: str) -> dict[str, Any]:
    return {"error_code": code, "rationale": rationale}
