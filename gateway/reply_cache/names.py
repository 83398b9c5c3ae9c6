"""The name under which a reply is kept: `project:generation:digest`."""

from collections.abc import Iterable
from hashlib import blake2b

PURPOSE = b"reply cache"


def name_of(secret_key: str, project_id: str, generation: int, parts: Iterable[bytes]) -> str:
    """Only who has the secret key can tell what was asked from a name, or make one.

    Args:
        parts: everything that the answer depends on.
    """
    digest = blake2b(key=secret_key.encode()[:64], person=PURPOSE, digest_size=32)
    for part in (project_id.encode(), *parts):  # each behind its length: no two lists are written alike
        digest.update(len(part).to_bytes(8, "big") + part)
    return f"{of_generation(project_id, generation)}{digest.hexdigest()}"


def of_project(project_id: str) -> str:
    """What every name of a project begins with."""
    return f"{project_id}:"


def of_generation(project_id: str, generation: int) -> str:
    return f"{of_project(project_id)}{generation}:"


def project_of(name: str) -> str:
    return name.partition(":")[0]
