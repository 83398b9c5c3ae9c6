"""What belongs together, found pair by pair (Tarjan's union-find): eight bytes a member."""

import numpy as np


class Unions:
    """Members are numbered from 0. The root of a set is its smallest member, whatever the order of joining."""

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count, dtype=np.int64)

    def root(self, member: int) -> int:
        parents = self._parents
        top = member
        while parents[top] != top:
            top = int(parents[top])
        while parents[member] != top:
            parents[member], member = top, int(parents[member])
        return top

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._parents[high] = low

    def roots(self) -> np.ndarray:
        """Of every member."""
        parents = self._parents
        while True:
            above = parents[parents]
            if np.array_equal(above, parents):
                return parents
            parents = self._parents = above
