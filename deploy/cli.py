"""The `tuneway` command.

What a command needs is imported when it is called: the process of `tuneway gateway` stays beside those that
serve, and as small as it is here. What works on the database itself is in deploy/database_commands.py.
"""

import asyncio
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from gateway.settings import DatabaseSettings, RedisSettings, Settings, SettingsError, load, require_secret_key

ELSEWHERE = {
    "keys": "admin.keys:keys",
    "admin-keys": "admin.admin_keys:admin_keys",
    "budgets": "admin.budgets:budgets",
    "prices": "admin.prices:prices",
    "users": "admin.users:users",
    "webhooks": "admin.webhooks:webhooks",
    "routes": "admin.routes:routes",
}
"""Every command of an administrator; each is a client of the Administration API, over HTTP like any other."""


class Commands(click.Group):
    """Ours, and those from elsewhere, which are imported when somebody asks for them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (place := ELSEWHERE.get(cmd_name)) is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(":")
        return getattr(import_module(module), name)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="TOML file; see deploy/tuneway.example.toml.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tuneway")
def main() -> None:
    """Tuneway: an OpenAI-compatible gateway that fine-tunes."""


@main.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=None, help="Default: ~/.tuneway.")
@click.option(
    "--model", default="starter", show_default=True, help="`starter`, a directory, or a local Hugging Face id."
)
@click.option("--engine", type=click.Choice(["embedded", "vllm", "none"]), default="embedded", show_default=True)
@click.option("--workers", default=1, show_default=True, help="Gateway processes.")
@config_option
def serve_command(data_dir: Path | None, config: Path | None, **given: Any) -> None:
    """Run the whole stack in the foreground; Ctrl-C stops it."""
    from deploy.stack import StackOptions, serve
    from deploy.vllm import options_of

    settings = _settings(config)
    options = StackOptions(
        data_dir=(data_dir or settings.data_dir).expanduser().resolve(),
        config=config.resolve() if config else None,
        admin_key=os.environ.get("TUNEWAY_ADMIN_KEY"),
        database_url=_unless_default(settings.database.url, DatabaseSettings().url),
        redis_url=_unless_default(settings.redis.url, RedisSettings().url),
        secret_key=settings.secret_key.reveal() or None,
        keeps_encryption_key=bool(settings.encryption_key),
        vllm=options_of(settings),
        **given,
    )
    sys.exit(asyncio.run(serve(options)))


@main.command("gateway")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option("--workers", default=1, show_default=True)
def gateway_command(host: str, port: int, workers: int) -> None:
    """Run the gateway alone. Settings come from TUNEWAY_CONFIG and the environment."""
    _settings(None, needs_secret=True)
    from deploy import gateway_server

    sys.exit(gateway_server.serve(host=host, port=port, workers=workers))


@main.command("worker")
def worker_command() -> None:
    """Run background tasks (fine-tuning jobs) until SIGTERM."""
    from deploy import worker

    sys.exit(worker.run(_settings(None)))


@main.command("migrate")
@click.option("--reseal", is_flag=True, help="Then do what `tuneway reseal` does.")
def migrate_command(reseal: bool) -> None:
    """Bring the database to the newest schema; with TUNEWAY_ADMIN_KEY set, make sure that key is an admin key."""
    settings = _settings(None, needs_secret=True)
    from deploy.database_commands import migrate, reseal_all, tell, told

    with told("could not be brought up to date"):
        asyncio.run(migrate(settings))
        if reseal:
            tell(asyncio.run(reseal_all(settings)))


@main.command("reseal")
def reseal_command() -> None:
    """Seal the secrets in the database with the first encryption key, so that the others are not needed any more.

    Ends with status 1 when one of them cannot be opened: then no key may be taken away yet.
    """
    settings = _settings(None)
    if not settings.encryption_key:
        print("tuneway: wrong configuration: encryption_key: there is none to seal with", file=sys.stderr)
        sys.exit(2)
    from deploy.database_commands import reseal_all, tell, told

    with told("could not be read"):
        done = asyncio.run(reseal_all(settings))
    tell(done)
    sys.exit(1 if done.broken else 0)


@main.group("usage")
def usage_group() -> None:
    """Look after what usage and costs are read from."""


@usage_group.command("rebuild")
@click.option("--check", is_flag=True, help="Only compare; exit status 1 when something is different.")
def rebuild_command(check: bool) -> None:
    """Make the hourly and daily sums and what budgets have spent anew from the ledger, and tell every difference.

    Ends with status 1 when the ledger itself is not what the exchange log says: that is told, and not mended.
    """
    settings = _settings(None)
    from admin.usage import check_usage, rebuild_usage
    from deploy.database_commands import told

    with told("could not be compared"):
        found = asyncio.run(check_usage(settings) if check else rebuild_usage(settings))
    for line in found.lines():
        print(line)
    sys.exit(1 if found.ledger.different or (check and not found.agrees) else 0)


@main.command(
    "engine", context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def engine_command(arguments: tuple[str, ...]) -> None:
    """Run the embedded inference engine (needs tuneway[train]); see `tuneway engine --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "trainer.engine", *arguments])  # noqa: S606


def _unless_default(url: str, default: str) -> str | None:
    """A server that the operator named takes the place of the embedded one."""
    return url if url != default else None


def _settings(config: Path | None, *, needs_secret: bool = False) -> Settings:
    """Settings, or one sentence and exit status 2."""
    try:
        settings = load(config)
        if needs_secret:
            require_secret_key(settings)
    except SettingsError as error:
        print(f"tuneway: wrong configuration: {error}", file=sys.stderr)
        sys.exit(2)
    return settings


if __name__ == "__main__":
    main()
