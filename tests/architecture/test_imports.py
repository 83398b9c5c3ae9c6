"""The layers of design section 3, that the gateway never imports torch, and that it starts without what only workers need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "trl", "vllm")
ARRAYS = ("numpy", "scipy", "pyarrow", "rensa", "bm25s")
"""A tenth of a second and more each, for what no call needs."""


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["gateway.app", "deploy.worker", "admin.keys", "deploy.cli", "trainer.contract"])
def test_imports_no_ml(module: str) -> None:
    """In a fresh process, so that what other tests imported does not count."""
    assert imported_with(module, HEAVY) == "[]"


def test_a_gateway_starts_without_arrays() -> None:
    assert imported_with("gateway.app", ARRAYS) == "[]"


NEVER = ("aiohttp", "alembic", "cryptography.hazmat", "jinja2", "joserfc", "jsonschema", "jwt", "lxml", "obstore", "pydantic", "rapidfuzz",
         "sacrebleu", "segno", "snowballstemmer", "sqlite3", "tokenizers")  # fmt: skip
"""Not with the framework and the console either: only the few routes that need them import them."""
SELDOM = (*NEVER, "litestar", "opentelemetry.sdk", "regex", "sqlalchemy", "yaml", "admin", "gateway.db.tables", "gateway.litestar_app", "gateway.routes.urls",
          "gateway.rule_judgments", "judges.rules")  # fmt: skip
"""What no model call needs: the web framework and the console, and what single routes bring along (docs/performance.md)."""


def test_a_gateway_answers_model_calls_without_what_they_do_not_need() -> None:
    assert imported_with("deploy.asgi", (*SELDOM, *ARRAYS)) == "[]"


def test_what_follows_is_without_what_single_routes_need() -> None:
    assert imported_with("deploy.asgi; deploy.asgi.build()", (*NEVER, *ARRAYS)) == "[]"


def test_the_command_line_starts_without_what_serves() -> None:
    """Every `tuneway keys` would take twice as long, and the parent of the gateway's processes keeps what it imports."""
    serving = ("asyncpg", "cryptography", "gateway.services", "gateway.app", "httpx", "redis", "rich", "sqlalchemy")
    assert imported_with("deploy.cli", (*serving, *SELDOM, *ARRAYS)) == "[]"


def imported_with(module: str, names: tuple[str, ...]) -> str:
    others = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")}
    environment = others | {"TUNEWAY_SECRET_KEY": "k" * 40, "TUNEWAY_DATA_DIR": os.devnull}
    program = f"import sys, {module}; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()
