"""Commands that work on the database itself: `tuneway migrate`, `tuneway reseal`."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager

import click
from asyncpg import PostgresError
from sqlalchemy.exc import SQLAlchemyError

from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.db.reseal import Resealed, reseal
from gateway.errors import Unavailable
from gateway.keys.service import ensure_admin_key
from gateway.kit.sealing import Sealer, read_keys
from gateway.settings import Settings


async def migrate(settings: Settings) -> None:
    """To the newest schema; with TUNEWAY_ADMIN_KEY set, that key is an admin key then."""
    database = Database.of(settings)
    try:
        await upgrade(database.engine)
        if admin_key := os.environ.get("TUNEWAY_ADMIN_KEY"):
            async with database.session() as session:
                await ensure_admin_key(session, admin_key, secret_key=settings.secret_key.reveal())
    finally:
        await database.close()


async def reseal_all(settings: Settings) -> Resealed:
    """Every secret in the database, with the first encryption key."""
    database = Database.of(settings)
    try:
        async with database.session() as session:
            return await reseal(session, Sealer(read_keys(settings.encryption_key.reveal())))
    finally:
        await database.close()


def tell(done: Resealed) -> None:
    """For people."""
    for problem in done.broken:
        print(f"tuneway: {problem}", file=sys.stderr)
    print(f"Secrets sealed anew: {done.renewed}; sealed with the first key before: {done.current}.")


@contextmanager
def told(what: str) -> Generator[None]:
    """A database that does not do what it should is one sentence and exit status 1."""
    try:
        yield
    except (OSError, ImportError, SQLAlchemyError, PostgresError, Unavailable) as error:
        reason = " ".join(str(error).split("\n(Background", 1)[0].split()) or repr(error)
        raise click.ClickException(f"the database (database.url) {what}: {reason}") from error
