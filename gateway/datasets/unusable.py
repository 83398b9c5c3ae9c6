"""How gateway/datasets/__main__.py says that a file is at fault; gateway/datasets/isolated.py makes refusals of it.

No import of the service here: the process starts in a tenth of the time without it.
"""

import msgspec

OUT_OF_MEMORY = 3
"""Exit status."""


class Unusable(Exception):
    """A file, or what was asked for it, that cannot be worked with; the message says how to mend it."""

    def __init__(self, message: str, param: str | None = "file") -> None:
        super().__init__(message)
        self.param = param


class Refused(msgspec.Struct, tag_field="outcome", tag="refused"):
    """Printed instead of a result."""

    message: str
    param: str | None = None
