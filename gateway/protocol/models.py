"""GET /models (contract section 4)."""

import msgspec


class Model(msgspec.Struct, kw_only=True):
    id: str
    object: str = "model"
    created: int
    owned_by: str


RESERVED = ("active", "deployments", "load", "unload")
"""No model has such a name: /v1/models/{name} is something else (gateway/routes/deployments.py)."""
