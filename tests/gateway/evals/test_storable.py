from gateway.evals.storable import storable


class TestStorable:
    def test_what_postgresql_refuses_is_replaced(self) -> None:
        assert storable({"a\0": ["b\0c", "\ud800", 7, None]}) == {"a\ufffd": ["b\ufffdc", "\ufffd", 7, None]}

    def test_everything_else_stays(self) -> None:
        value = {"x": ["é", "𝄞", "模", True, 1.5, {"y": ""}]}
        assert storable(value) == value
