"""Unix seconds in requests."""

from typing import Annotated

import msgspec

LAST_SECOND = 253_402_300_799
"""The end of the year 9999, the last that a timestamp can hold."""

Moment = Annotated[int, msgspec.Meta(ge=0, le=LAST_SECOND)]
