"""Where the nodes of a graph of what came of what are drawn: what it was made of on the left, what was made of it on the right.

Layers by the longest way from a source, so that every edge goes to the right; within a layer, each node as near as can be to
those it came of (one sweep of the barycentre heuristic of Sugiyama, Tagawa and Toda 1981).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 184, 46
"""Of a node, in the drawing's units."""
ACROSS, DOWN = 64, 16
"""Between nodes."""


@dataclass(frozen=True, slots=True)
class Place:
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    places: Mapping[str, Place]
    lines: Sequence[tuple[str, str, str]]
    """(from, to, path of an SVG)."""


def layout(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Drawing:
    """Args: edges: (from, to); those of unknown nodes, and those that would close a circle, are drawn but count for nothing."""
    known = [(a, b) for a, b in edges if a in set(nodes) and b in set(nodes) and a != b]
    layers = _layers(nodes, known)
    columns: dict[int, list[str]] = {}
    for node in nodes:
        columns.setdefault(layers[node], []).append(node)
    ordered = _ordered(columns, known)
    places = {
        node: Place(column * (WIDTH + ACROSS), row * (HEIGHT + DOWN))
        for column, rows in ordered.items()
        for row, node in enumerate(rows)
    }
    width = max((place.x for place in places.values()), default=0) + WIDTH
    height = max((place.y for place in places.values()), default=0) + HEIGHT
    return Drawing(width, height, places, [(a, b, _path(places[a], places[b])) for a, b in known])


def _layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Node -> the longest way to it; in a circle, no longer than there are nodes."""
    layers = dict.fromkeys(nodes, 0)
    for _ in nodes:
        moved = False
        for a, b in edges:
            if layers[b] <= layers[a] < len(nodes) - 1:
                layers[b], moved = layers[a] + 1, True
        if not moved:
            break
    used = {layer: at for at, layer in enumerate(sorted(set(layers.values())))}
    return {node: used[layer] for node, layer in layers.items()}


def _ordered(columns: Mapping[int, list[str]], edges: Sequence[tuple[str, str]]) -> dict[int, list[str]]:
    ordered: dict[int, list[str]] = {}
    rows: dict[str, int] = {}
    for column in sorted(columns):
        middles = {node: _middle(node, at, edges, rows) for at, node in enumerate(columns[column])}
        ordered[column] = sorted(columns[column], key=middles.__getitem__)
        rows |= {node: at for at, node in enumerate(ordered[column])}
    return ordered


def _middle(node: str, place: int, edges: Sequence[tuple[str, str]], rows: Mapping[str, int]) -> float:
    """Of the rows of what it came of; its own place where that is nothing."""
    before = [rows[a] for a, b in edges if b == node and a in rows]
    return sum(before) / len(before) if before else place


def _path(start: Place, end: Place) -> str:
    x1, y1, x2, y2 = start.x + WIDTH, start.y + HEIGHT // 2, end.x, end.y + HEIGHT // 2
    half = (x1 + x2) // 2
    return f"M{x1} {y1} C{half} {y1} {half} {y2} {x2} {y2}"
