"""Passwords: the rules, the hashes, and that they hold up nobody."""

import asyncio
import threading
from contextlib import nullcontext

import pytest
from argon2 import PasswordHasher

from gateway.access import passwords
from gateway.access.passwords import CONCURRENCY, PARAMETERS, WAITING, Passwords, check_rules
from gateway.errors import InvalidRequest, Unavailable
from tests.polling import until

pytestmark = pytest.mark.anyio

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class TestHashes:
    async def test_know_their_password(self) -> None:
        book = Passwords(QUICK)
        hashed = await book.hash("correct horse battery")
        assert await book.verify(hashed, "correct horse battery")
        assert not await book.verify(hashed, "correct horse battery ")
        assert hashed != await book.hash("correct horse battery")

    async def test_do_not_depend_on_how_a_letter_was_typed(self) -> None:
        book = Passwords(QUICK)
        assert await book.verify(await book.hash("Ame\u0301lie und Zoe\u0308"), "Am\u00e9lie und Zo\u00eb")

    async def test_are_argon2id_as_the_rfc_recommends(self) -> None:
        assert (PARAMETERS.memory_cost, PARAMETERS.time_cost, PARAMETERS.type.name) == (65536, 3, "ID")
        book = Passwords()
        hashed = await book.hash("x" * 12)
        assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert await book.verify(hashed, "x" * 12)
        assert not await book.verify(hashed, "y" * 12)
        assert not book.is_outdated(hashed)
        assert book.is_outdated(QUICK.hash("x" * 12))

    @pytest.mark.parametrize("hashed", [None, "", "nonsense", "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"])
    async def test_nobodys_is_never_right(self, hashed: str | None) -> None:
        book = Passwords(QUICK)
        for password in ("", "x" * 12, "x" * 5000):
            assert not await book.verify(hashed, password)

    def test_of_other_parameters_are_outdated(self) -> None:
        hashed = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash("x")
        assert Passwords(QUICK).is_outdated(hashed)
        assert not Passwords(QUICK).is_outdated(QUICK.hash("x"))


class TestTurns:
    async def test_few_at_a_time_beside_the_loop_and_not_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        book, gate, started = Passwords(QUICK), threading.Event(), list[str]()

        def slow(hashed: str, password: str) -> bool:
            started.append(threading.current_thread().name)
            return gate.wait(20)

        monkeypatch.setattr(book, "_verify", slow)
        waiting = [asyncio.ensure_future(book.verify("x", "y")) for _ in range(WAITING)]
        await until(lambda: len(started) == CONCURRENCY)
        with pytest.raises(Unavailable):
            await book.verify("x", "y")
        assert len(started) == CONCURRENCY
        assert threading.current_thread().name not in started
        gate.set()
        assert all(await asyncio.gather(*waiting))
        assert await book.verify("x", "y")

    async def test_who_leaves_gives_the_place_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(passwords, "WAITING", 1)
        book = Passwords(QUICK)
        left = asyncio.ensure_future(book.hash("x"))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        assert await book.hash("x")


class TestRules:
    @pytest.mark.parametrize(
        ("password", "fine"),
        [
            ("x" * 11, False),
            ("x" * 12, True),
            ("x" * 1024, True),
            ("x" * 1025, False),
            ("\u00e9" * 512, True),
            ("\u00e9" * 513, False),
            ("somebody.with.a.name@example.com", False),
            ("SOMEBODY.with.a.NAME", False),
            ("somebody.with.a.name!", True),
        ],
    )
    def test_are_length_and_not_the_email(self, password: str, fine: bool) -> None:
        with nullcontext() if fine else pytest.raises(InvalidRequest, match="'password'"):
            check_rules(password, "somebody.with.a.name@example.com")
