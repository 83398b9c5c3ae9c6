"""`tuneway users` against a real gateway process on a socket."""

from typing import Any

import httpx

from tests.admin.test_budgets import answered, called, database_url, url  # noqa: F401 the fixtures
from tests.admin.test_cli import failure, made


def signed_in(url: str, email: str, password: str) -> dict[str, Any] | int:  # noqa: F811
    """Who signs in with that; else the status."""
    answer = httpx.post(f"{url}/v1/sessions", json={"email": email, "password": password}, timeout=60)
    return answer.json()["user"] if answer.status_code == 200 else answer.status_code


class TestUsers:
    def test_the_first_owner_gets_a_password_that_works(self, url: str) -> None:  # noqa: F811
        told = called(url, "users", "add", "first@example.com", "--owner", "--name", "Ada").stdout
        password = told.splitlines()[0]
        assert "first@example.com (owner)" in told
        user = signed_in(url, "first@example.com", password)
        assert isinstance(user, dict)
        assert (user["name"], user["role"]) == ("Ada", "owner")

    def test_join_projects(self, url: str) -> None:  # noqa: F811
        made(url, "people")
        user = answered(url, "users", "add", "member@example.com", "--project", "people=owner")
        [listed] = [each for each in answered(url, "users", "list") if each["id"] == user["id"]]
        assert [(each["name"], each["role"]) for each in listed["projects"]["data"]] == [("people", "owner")]
        line = next(line for line in called(url, "users", "list").stdout.splitlines() if user["id"] in line)
        assert all(word in line for word in ("member@example.com", "reader", "password", "never", "people (owner)"))

    def test_are_invited(self, url: str) -> None:  # noqa: F811
        told = called(url, "users", "add", "guest@example.com", "--invite").stdout
        link = told.splitlines()[0]
        assert link.startswith(f"{url}/accept-invite#token=")
        body = {"token": link.partition("#token=")[2], "name": "Guest", "password": "chosen by themselves"}
        assert httpx.post(f"{url}/v1/invites/accept", json=body, timeout=60).status_code == 200
        assert isinstance(signed_in(url, "guest@example.com", "chosen by themselves"), dict)

    def test_get_a_new_password(self, url: str) -> None:  # noqa: F811
        old = answered(url, "users", "add", "forgot@example.com")["password"]
        new = called(url, "users", "reset-password", "Forgot@example.com", "--totp").stdout.splitlines()[0]
        assert signed_in(url, "forgot@example.com", old) == 401
        assert isinstance(signed_in(url, "forgot@example.com", new), dict)

    def test_a_mistake_is_one_sentence(self, url: str) -> None:  # noqa: F811
        assert "nobody@example.com" in failure(called(url, "users", "reset-password", "nobody@example.com"))
        assert "email" in failure(called(url, "users", "add", "nobody"))
        wrong = called(url, "users", "add", "x@example.com", "--project", "people=boss")
        assert "boss" in failure(wrong, 2)
