"""Whether more fails than before, and since what."""

from gateway.guidance.changes import since, trend
from gateway.guidance.material import Material
from gateway.guidance.populations import Population, populations
from tests.gateway.guidance.materials import START, judged, material, route, training


def population(found: Material) -> Population:
    return next(iter(populations(found)))


def answers(count: int, failing: int, start: int = 0, **changes: object) -> list[object]:
    return [judged(start + n, passed=n >= failing, **changes) for n in range(count)]


class TestTrend:
    def test_rose(self) -> None:
        found = trend(population(material(judged=answers(50, 2) + answers(50, 25, 50))))
        assert found is not None
        assert found.direction == "rose"
        assert (found.change.before.n, found.change.after.n) == (2, 25)
        assert found.change.low > 0

    def test_fell(self) -> None:
        found = trend(population(material(judged=answers(50, 25) + answers(50, 2, 50))))
        assert found is not None
        assert found.direction == "fell"

    def test_unsure_where_the_interval_holds_nothing(self) -> None:
        found = trend(population(material(judged=answers(50, 10) + answers(50, 12, 50))))
        assert found is not None
        assert found.direction == "unsure"
        assert found.change.low < 0 < found.change.high

    def test_none_of_few(self) -> None:
        assert trend(population(material(judged=answers(9, 1) + answers(9, 8, 9)))) is None


class TestSince:
    def test_a_training_before_the_spike(self) -> None:
        said = answers(60, 3) + answers(60, 30, 60, model="ft:x")
        own = {"ft:x": training(job_id="ftjob-7", created_at=START + 60.0 * 60)}
        known = material(judged=said, trainings=own)
        found = since(population(known), known)
        assert found is not None
        assert (found.kind, found.name, found.training_job_id) == ("model", "ft:x", "ftjob-7")
        assert (found.change.before.n, found.change.after.n) == (3, 30)

    def test_a_revision_of_a_route(self) -> None:
        said = answers(60, 3, route="shop@1") + answers(60, 30, 60, route="shop@2")
        known = material(judged=said, routes=[route(revisions=[(1, START), (2, START + 3600.0)])])
        found = since(population(known), known)
        assert found is not None
        assert (found.kind, found.name) == ("route_revision", "shop@2")

    def test_none_where_it_did_not_rise(self) -> None:
        said = answers(60, 6, route="shop@1") + answers(60, 7, 60, route="shop@2")
        known = material(judged=said, routes=[route(revisions=[(1, START), (2, START + 3600.0)])])
        assert since(population(known), known) is None

    def test_a_model_that_is_better_is_not_blamed(self) -> None:
        said = answers(60, 30) + answers(60, 3, 60, model="ft:x")
        known = material(judged=said, trainings={"ft:x": training(created_at=START + 3600.0)})
        assert since(population(known), known) is None

    def test_of_several_the_surest(self) -> None:
        said = answers(40, 2, route="shop@1") + answers(40, 12, 40, route="shop@2")
        said += answers(40, 36, 80, route="shop@3")
        revisions = [(number, START + 2400.0 * (number - 1)) for number in (1, 2, 3)]
        known = material(judged=said, routes=[route(revisions=revisions)])
        found = since(population(known), known)
        assert found is not None
        assert found.name == "shop@3"

    def test_many_beginnings_want_a_surer_rise(self) -> None:
        """Of twenty looks one finds something by chance."""

        def through(last: int) -> Material:
            said = [each for number in range(1, last) for each in answers(50, 5, number * 50, route=f"shop@{number}")]
            said += answers(50, 14, last * 50, route=f"shop@{last}")
            revisions = [(number, START + 3000.0 * number) for number in range(1, last + 1)]
            return material(judged=said, routes=[route(revisions=revisions)])

        few, many = through(2), through(20)
        found = since(population(few), few)
        assert found is not None
        assert found.name == "shop@2"
        assert since(population(many), many) is None
