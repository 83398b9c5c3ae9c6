"""How many calls are under way, for whoever has to choose."""


class Load:
    """Calls under way in this process. A stream counts until its last byte."""

    def __init__(self) -> None:
        self._replicas: dict[str, int] = {}
        self._models: dict[str, int] = {}

    def begin(self, replica: str, model: str) -> None:
        self._replicas[replica] = self._replicas.get(replica, 0) + 1
        self._models[model] = self._models.get(model, 0) + 1

    def end(self, replica: str, model: str) -> None:
        """Once for each `begin`."""
        _lower(self._replicas, replica)
        _lower(self._models, model)

    def of_replica(self, url: str) -> int:
        """Calls of any model at that base URL."""
        return self._replicas.get(url, 0)

    def of_model(self, model: str) -> int:
        return self._models.get(model, 0)

    @property
    def total(self) -> int:
        return sum(self._replicas.values())


def _lower(counts: dict[str, int], key: str) -> None:
    if counts[key] == 1:
        del counts[key]  # a model that is gone leaves nothing behind
    else:
        counts[key] -= 1
