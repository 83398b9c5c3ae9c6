"""What it takes a gateway process to learn that a key has changed, by how many keys there are.

    .venv/bin/python -m benchmarks.keys [--keys 10000] [--rounds 20]

Fills a PostgreSQL of its own with keys of one project, and lets a process that knows all of them hear of a change, again and again
(gateway/db/mirror.py). Counted is the CPU of this process (all threads), during which its calls wait, and of no other.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.gateways import SECRET_KEY, own_servers
from gateway.db.database import Database
from gateway.db.mirror import Mirrors
from gateway.keys.ring import KeyRing

PROJECT = "INSERT INTO projects (id, name, created_at) VALUES ('p', 'p', now())"
ACCOUNT = """
INSERT INTO service_accounts (id, project_id, name, role, created_at) VALUES ('s', 'p', 's', 'member', now())
"""
KEYS = """
INSERT INTO api_keys (id, name, hash, redacted_value, project_id, service_account_id, created_at)
SELECT 'key_' || n, 'key ' || n, sha256(n::text::bytea), 'sk-...', 'p', 's', now() FROM generate_series(1, {keys}) n
"""
CHANGE = """
INSERT INTO changes (name, version) VALUES ('api_keys', 1) ON CONFLICT (name) DO UPDATE SET version = changes.version + 1
"""


def main() -> None:
    arguments = _arguments()
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory:
        asyncio.run(_measure(own_servers(stack, Path(directory)).database_url, arguments.keys, arguments.rounds))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args()


async def _measure(url: str, keys: int, rounds: int) -> None:
    database = Database(url, pool_size=2, timeout=30)
    async with database.raw() as connection:
        for statement in (PROJECT, ACCOUNT, KEYS.format(keys=keys)):
            await connection.execute(statement)
    mirrors = Mirrors(database, [KeyRing(SECRET_KEY)])
    await mirrors.refresh()
    taken: list[float] = []
    for _ in range(rounds):
        async with database.raw() as connection:
            await connection.execute(CHANGE)
        began = time.process_time()
        await mirrors.refresh()
        taken.append(1000 * (time.process_time() - began))
    await database.close()
    print(f"{keys} keys: {statistics.median(taken):.1f} ms of CPU ({min(taken):.1f} to {max(taken):.1f})")


if __name__ == "__main__":
    main()
