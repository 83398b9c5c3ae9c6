"""From one thing step by step to what it was made of, and to what was made of it."""

from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.lineage.down import DOWN
from gateway.lineage.link import Link, Query
from gateway.lineage.nodes import find, nodes
from gateway.lineage.up import UP
from gateway.protocol.lineage import Edge, Lineage, Node, Omitted

Direction = Literal["up", "down"]
LINKS: dict[Direction, dict[str, tuple[Link, ...]]] = {"up": UP, "down": DOWN}


@dataclass(frozen=True)
class Bounds:
    """How much of a graph is shown."""

    directions: tuple[Direction, ...] = ("up", "down")
    depth: int = 6
    """Steps from the thing that was asked for."""
    limit: int = 200
    """Nodes."""
    breadth: int = 10
    """Nodes of one kind that come of one node, or that one node comes of; of the rest there is a number."""


@dataclass
class Graph:
    """As far as it is known. Both directions share it: what is above a thing and below it has one node."""

    nodes: dict[str, Node]
    edges: dict[Edge, None] = field(default_factory=dict[Edge, None])
    omitted: list[Omitted] = field(default_factory=list[Omitted])
    truncated: bool = False


async def lineage(session: AsyncSession, project_id: str, id: str, bounds: Bounds) -> Lineage:
    """Raises NotFound: the project has nothing with that id."""
    start = await find(session, project_id, id)
    graph = Graph({start.id: start})
    for direction in bounds.directions:
        await _walk(session, project_id, graph, start, direction, bounds)
    return Lineage(
        id=start.id,
        nodes=list(graph.nodes.values()),
        edges=list(graph.edges),
        omitted=graph.omitted,
        truncated=graph.truncated,
    )


async def _walk(
    session: AsyncSession, project_id: str, graph: Graph, start: Node, direction: Direction, bounds: Bounds
) -> None:
    walked, level = {start.id}, [start]
    for _ in range(bounds.depth):
        following: dict[str, Node] = {}
        for node in level:
            step = _Step(session, project_id, graph, node, direction, bounds)
            following |= {each.id: each for each in await step.neighbours() if each.id not in walked}
        level = list(following.values())
        walked |= set(following)
        if not level:
            return
    if any(LINKS[direction][node.type] for node in level):
        graph.truncated = True


@dataclass(frozen=True)
class _Step:
    """From one node in one direction."""

    session: AsyncSession
    project_id: str
    graph: Graph
    node: Node
    direction: Direction
    bounds: Bounds

    async def neighbours(self) -> list[Node]:
        """Those that the graph has now, new ones and old."""
        found: list[Node] = []
        for link in LINKS[self.direction][self.node.type]:
            found += await self._follow(link)
        return found

    async def _follow(self, link: Link) -> list[Node]:
        query = link.find(self.project_id, self.node.id)
        ids = list(await self.session.scalars(query.limit(self.bounds.breadth + 1)))
        if len(ids) > self.bounds.breadth:
            ids.pop()
            await self._count(link, query, len(ids))
        there = await nodes(self.session, self.project_id, link.kind, ids) if ids else []
        return [each for each in there if self._add(link, each)]

    async def _count(self, link: Link, query: Query, shown: int) -> None:
        every = select(func.count()).select_from(query.order_by(None).subquery())
        count = (await self.session.scalar(every) or 0) - shown
        omitted = Omitted(id=self.node.id, type=link.kind, direction=self.direction, count=count)
        self.graph.omitted.append(omitted)

    def _add(self, link: Link, other: Node) -> bool:
        """False: there is no room for it."""
        if other.id not in self.graph.nodes and len(self.graph.nodes) >= self.bounds.limit:
            self.graph.truncated = True
            return False
        self.graph.nodes.setdefault(other.id, other)
        source, target = (other, self.node) if self.direction == "up" else (self.node, other)
        self.graph.edges[Edge(source=source.id, target=target.id, type=link.type)] = None
        return True
