"""/fine_tuning/checkpoints/{checkpoint}/permissions (contract section 3)."""

from typing import Annotated

import msgspec


class PermissionsCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    project_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]


class CheckpointPermission(msgspec.Struct, kw_only=True):
    id: str
    object: str = "checkpoint.permission"
    created_at: int
    project_id: str
