"""/v1/organization/projects/{project}/retention (an extension): how long what belongs to a project is kept."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

MOST_DAYS = 36_500

Days = Annotated[int, Meta(ge=0, le=MOST_DAYS)]
"""0: until somebody deletes it."""


class Periods(msgspec.Struct, kw_only=True, frozen=True):
    body_days: Days
    exchange_days: Days
    training_log_days: Days


class Retention(msgspec.Struct, kw_only=True):
    object: str = "organization.project.retention"
    project_id: str
    body_days: Days | None
    """Of the project; null: as the settings of the gateway say."""
    exchange_days: Days | None
    training_log_days: Days | None
    in_force: Periods
    """What that comes to."""
    bodies_before: int | None
    """What was asked and answered before this Unix second is gone; null: nothing is."""
    exchanges_before: int | None


class RetentionUpdate(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    body_days: Days | UnsetType | None = UNSET
    exchange_days: Days | UnsetType | None = UNSET
    training_log_days: Days | UnsetType | None = UNSET
