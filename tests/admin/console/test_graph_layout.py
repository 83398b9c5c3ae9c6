"""Graphs with known drawings."""

from itertools import combinations

from admin.console.graph_layout import ACROSS, HEIGHT, WIDTH, layout


class TestLayout:
    def test_a_chain_goes_to_the_right(self) -> None:
        drawing = layout(["file", "job", "model"], [("file", "job"), ("job", "model")])
        assert [drawing.places[each].x for each in ("file", "job", "model")] == [
            0,
            WIDTH + ACROSS,
            2 * (WIDTH + ACROSS),
        ]
        assert (drawing.width, drawing.height) == (3 * WIDTH + 2 * ACROSS, HEIGHT)

    def test_every_edge_goes_to_the_right_and_nothing_overlaps(self) -> None:
        nodes = list("abcdefg")
        edges = [("a", "d"), ("b", "d"), ("c", "e"), ("d", "f"), ("e", "f"), ("a", "f"), ("f", "g")]
        drawing = layout(nodes, edges)
        assert all(drawing.places[a].x < drawing.places[b].x for a, b in edges)
        for one, other in combinations(drawing.places.values(), 2):
            assert abs(one.x - other.x) >= WIDTH or abs(one.y - other.y) >= HEIGHT
        assert [(a, b) for a, b, _ in drawing.lines] == edges

    def test_nodes_stand_beside_what_they_came_of(self) -> None:
        drawing = layout(["a", "b", "x", "y"], [("a", "y"), ("b", "x")])
        assert drawing.places["y"].y < drawing.places["x"].y

    def test_a_circle_and_edges_of_nothing_do_no_harm(self) -> None:
        drawing = layout(["a", "b"], [("a", "b"), ("b", "a"), ("a", "gone"), ("a", "a")])
        assert set(drawing.places) == {"a", "b"}
        assert len(drawing.lines) == 2

    def test_of_nothing(self) -> None:
        assert layout([], []).places == {}
