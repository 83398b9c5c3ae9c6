"""Entries of the audit log as people read them."""

from typing import Any

from admin.console.audit_entries import line_of


def entry(detail: dict[str, Any], actor: dict[str, Any] | None = None) -> dict[str, Any]:
    session = {"user": {"id": "user-1", "email": "ada@example.com"}, "ip_address": "10.0.0.1", "user_agent": "Firefox"}
    actor = actor or {"type": "session", "session": session}
    return {"id": "audit_log-1", "type": "user.updated", "effective_at": 5, "actor": actor, "user.updated": detail}


class TestWho:
    def test_a_person_in_a_browser(self) -> None:
        line = line_of(entry({"id": "user-2"}))
        assert (line.who, line.kind, line.address, line.agent) == ("ada@example.com", "browser", "10.0.0.1", "Firefox")
        assert (line.resource, line.changes, line.project) == ("user-2", [], None)

    def test_a_key_of_somebody_and_of_nobody(self) -> None:
        key = {"id": "key_1", "type": "user", "user": {"id": "user-1", "email": "ada@example.com"}}
        assert line_of(entry({}, {"type": "api_key", "api_key": key})).who == "ada@example.com"
        key = {"id": "key_1", "type": "service_account", "service_account": {"id": "key_1"}}
        line = line_of(entry({}, {"type": "api_key", "api_key": key}))
        assert (line.who, line.kind) == ("key_1", "key")

    def test_nobody_known(self) -> None:
        assert line_of(entry({}, {"type": "session", "session": {"user": {}}})).who == "nobody known"


class TestChanges:
    def test_each_field_with_its_value(self) -> None:
        changes = {"role": "owner", "limits": {"a": None, "b": [1, 2]}, "hard": True, "tags": [], "none": {}}
        assert line_of(entry({"id": "x", "changes_requested": changes})).changes == [
            ("role", "owner"),
            ("limits.a", "none"),
            ("limits.b", "1, 2"),
            ("hard", "yes"),
            ("tags", "none"),
            ("none", "none"),
        ]

    def test_what_was_made_and_what_failed(self) -> None:
        assert line_of(entry({"data": {"role": "reader"}})).changes == [("role", "reader")]
        assert line_of(entry({"error_code": "locked"})).changes == [("error_code", "locked")]

    def test_of_a_long_list_the_first_are_named(self) -> None:
        models = [{"model": f"m-{at}", "served_name": None} for at in range(60)]
        [(_, said)] = line_of(entry({"changes_requested": {"models": models}})).changes
        assert said.startswith("model=m-0 served_name=none, model=m-1 ")
        assert said.endswith(", and 54 more")

    def test_what_lies_deep_is_in_one_line(self) -> None:
        deep = {"a": {"b": {"c": {"d": 1}}}}
        assert line_of(entry({"changes_requested": deep})).changes == [("a.b.c", "d=1")]
