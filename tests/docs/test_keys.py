"""docs/keys.md says what is so."""

import re
import shlex
from pathlib import Path

import click

from deploy.cli import main
from gateway.keys.scopes import SCOPES
from gateway.protocol.organization import KeyRights

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()


def rows(heading: str) -> dict[str, str]:
    """First and second cells of the first table behind a heading."""
    table = PAGE.split(heading, 1)[1].split("\n|---|", 1)[1].split("\n\n", 1)[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) \|", table, re.MULTILINE))


def test_every_scope_is_told() -> None:
    assert rows("### Scopes") == SCOPES


def test_every_right_is_told() -> None:
    assert set(rows("## What a key may do")) == set(KeyRights.__struct_fields__)


def test_every_policy_is_told() -> None:
    assert set(rows("### Logging")) == {"full", "metadata", "off"}


def test_the_commands_are_sound() -> None:
    """Every option exists and takes what is given."""
    blocks = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
    lines = [shlex.split(line) for line in blocks.splitlines() if line.startswith("tuneway ")]
    assert len(lines) == 2
    for _, group, name, *arguments in lines:
        command = main.get_command(click.Context(main), group)
        assert isinstance(command, click.Group)
        whole = click.Context(
            main, **main.context_settings
        )  # a command keeps the names of the first help that it was asked for
        command.commands[name].make_context(name, [*arguments, "--admin-key", "x"], parent=whole)
