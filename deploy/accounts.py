"""The system user that PostgreSQL runs as when Tuneway runs as root: PostgreSQL refuses root."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from deploy.parts import StackError
from deploy.process import Account

PREFERRED = ("tuneway", "postgres")


def unprivileged_account(directory: Path) -> Account | None:
    """None unless we are root: then the owner of `directory`, a user that exists already, or a new one.

    Raises StackError when there is none and none can be made.
    """
    if os.geteuid() != 0:
        return None
    if directory.exists() and (owner := directory.stat().st_uid) != 0:
        return _known(owner, directory)
    for name in PREFERRED:
        if (account := _named(name)) is not None:
            return account
    return _new(PREFERRED[0])


def _known(uid: int, directory: Path) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise StackError(
            f"{directory} belongs to user id {uid}, which this system does not know: give it to an existing user "
            f"(chown -R postgres {directory})."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _new(name: str) -> Account:
    refusal = "there is no useradd command"
    if (useradd := shutil.which("useradd")) is not None:
        command = (useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        refusal = done.stderr.strip() or f"useradd ended with status {done.returncode}"
    account = _named(name)
    if account is None:
        raise StackError(
            f"PostgreSQL refuses to run as root and the system user '{name}' could not be made ({refusal}): run tuneway as an "
            f"ordinary user, make that user yourself, or set database.url."
        )
    return account
