"""More data, and examples in the prompt."""

from typing import Any

from tests.gateway.guidance.materials import judged, kinds, only, route

DOWN = {"passed": False}


def liked(count: int, **changes: Any) -> list[Any]:
    return [judged(1000 + n, **changes) for n in range(count)]


class TestMoreData:
    def test_where_failures_concentrate(self) -> None:
        said = [judged(n, **DOWN, metadata={"team": "legal"}, route="shop@3") for n in range(8)]
        cluster = only(judged=said + liked(30, metadata={"team": "sales"}))
        found = [each for each in cluster.suggestions if each.kind == "more_data"]
        assert [each.parameters for each in found] == [
            {"route": "shop", "criterion": "thumbs", "metadata": "team=legal"}
        ]
        assert "100%" in found[0].why

    def test_a_question_that_comes_again(self) -> None:
        questions = {f"req_{n:04}": "Where is my parcel?" for n in range(4)}
        cluster = only(judged=[judged(n, **DOWN) for n in range(6)] + liked(3), questions=questions)
        assert "More data on the question that fails most" in [each.title for each in cluster.suggestions]

    def test_not_where_questions_differ_and_nothing_concentrates(self) -> None:
        questions = {f"req_{n:04}": f"{chr(97 + n) * 9} {chr(110 + n) * 7}" for n in range(6)}
        cluster = only(judged=[judged(n, **DOWN) for n in range(6)] + liked(6), questions=questions)
        assert "more_data" not in kinds(cluster)

    def test_of_many_that_are_spread(self) -> None:
        cluster = only(judged=[judged(n, **DOWN) for n in range(60)] + liked(60))
        assert "More data on what fails" in [each.title for each in cluster.suggestions]


class TestFewShot:
    def test_on_the_route_of_few_failures(self) -> None:
        said = [judged(n, **DOWN, route="shop@1") for n in range(4)]
        [found] = [each for each in only(judged=said, routes=[route()]).suggestions if each.kind == "few_shot"]
        assert found.parameters == {"route": "shop", "route_id": "route_1"}

    def test_not_on_a_route_that_shows_some(self) -> None:
        said = [judged(n, **DOWN, route="shop@1") for n in range(4)]
        assert "few_shot" not in kinds(only(judged=said, routes=[route(few_shot=True)]))

    def test_not_of_many(self) -> None:
        said = [judged(n, **DOWN, route="shop@1") for n in range(60)]
        assert "few_shot" not in kinds(only(judged=said, routes=[route()]))
