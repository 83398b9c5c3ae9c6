"""Clusters: what failed, of how many, ordered by how much it touches."""

from gateway.guidance.populations import MOST_TAGS
from tests.gateway.guidance.materials import called, item, judge, judged, only, report

FAILS = {"passed": False}


class TestJudgments:
    def test_an_answer_counts_once_however_many_judged_it(self) -> None:
        both = [judged(1, end_user="a"), judged(1, **FAILS)]
        cluster = only(judged=[*both, judged(2, **FAILS, end_user="b"), judged(3)])
        assert (cluster.failing.n, cluster.failing.of) == (2, 3)
        assert cluster.failing.low < 2 / 3 < cluster.failing.high
        assert cluster.end_users == 2

    def test_a_single_failure_is_no_cluster(self) -> None:
        assert report(judged=[judged(1, **FAILS), judged(2)]).clusters == []

    def test_rules_are_named_and_what_they_name_is_not_told_twice(self) -> None:
        rules = {"source": "rule", "criterion_id": "crit_rules", "judge_version_id": "v", **FAILS}
        said = [judged(n, **rules, tags=["json"]) for n in range(3)] + [judged(9, **rules, tags=["json", "length"])]
        found = report(judged=said + [judged(n, **rules | {"passed": True}) for n in range(10, 14)]).clusters
        assert [(each.subject.tag, each.failing.n, each.failing.of) for each in found] == [("json", 4, 8)]

    def test_peoples_tags_are_clusters_of_their_own(self) -> None:
        said = [judged(n, **FAILS, tags=["too long"]) for n in range(2)] + [judged(n, **FAILS) for n in range(2, 5)]
        titles = [(each.kind, each.title, each.failing.n) for each in report(judged=said).clusters]
        assert titles == [("judgment", "People: thumbs not met", 5), ("tag", "People say: too long", 2)]

    def test_of_a_thousand_tags_the_most_frequent(self) -> None:
        said = [judged(n, tags=[f"tag {n // 3}", "frequent"]) for n in range(3000)]
        found = [each.subject.tag for each in report(judged=said).clusters]
        assert len(found) == MOST_TAGS
        assert found[0] == "frequent"

    def test_judges_that_are_not_trusted_come_last(self) -> None:
        versions = {"sure": judge(name="sure"), "new": judge(id="judge_2", name="new", trusted=False)}
        llm = {"source": "llm", "criterion_id": "crit_helpful", **FAILS}
        said = [judged(n, **llm, judge_version_id="new") for n in range(9)]
        said += [judged(n, **llm, judge_version_id="sure") for n in range(3)]
        found = report(judged=said, judges=versions).clusters
        assert [(each.subject.judge, each.trusted, each.failing.n) for each in found] == [
            ("sure", True, 3),
            ("new", False, 9),
        ]

    def test_versions_of_a_criterion_are_not_pooled(self) -> None:
        said = [judged(n, **FAILS, criterion_id=f"crit_{n % 2}") for n in range(4)]
        assert [each.failing.n for each in report(judged=said).clusters] == [2, 2]


class TestPartsOfACluster:
    def test_models_with_most_failures_first(self) -> None:
        said = [judged(n, **FAILS, model="a") for n in range(3)] + [judged(n, model="a") for n in range(3, 9)]
        said += [judged(n, **FAILS, model="b") for n in range(9, 14)]
        cluster = only(judged=said)
        assert [(each.value, each.failing.n, each.failing.of) for each in cluster.models] == [("b", 5, 5), ("a", 3, 9)]

    def test_examples_are_the_newest(self) -> None:
        cluster = only(judged=[judged(n, **FAILS) for n in range(8)])
        assert [each.exchange_id for each in cluster.examples] == [f"req_{n:04}" for n in range(7, 2, -1)]
        assert cluster.first_seen < cluster.last_seen == cluster.examples[0].created_at

    def test_its_id_stays_when_more_fails(self) -> None:
        few, many = (only(judged=[judged(n, **FAILS) for n in range(count)]) for count in (3, 8))
        other = only(judged=[judged(n, **FAILS, criterion_id="crit_helpful") for n in range(3)])
        assert few.id == many.id != other.id


class TestCalls:
    def test_errors_by_their_code_and_refusals_apart(self) -> None:
        broken = [called(n, outcome="failed", status=502, code="upstream_failed") for n in range(3)]
        refused = [called(n, outcome="refused", status=429, code="insufficient_quota") for n in range(3, 5)]
        found = report(called=[*broken, *refused, *(called(n) for n in range(5, 20))]).clusters
        assert [(each.subject.code, each.subject.outcome, each.failing.n, each.failing.of) for each in found] == [
            ("upstream_failed", "failed", 3, 20),
            ("insufficient_quota", "refused", 2, 20),
        ]

    def test_an_error_without_a_code_is_named_by_its_status(self) -> None:
        assert only(called=[called(n, outcome="failed", status=500) for n in range(2)]).subject.code == "status 500"

    def test_who_was_fallen_back_from(self) -> None:
        fallen = [called(n, failed_model="a", failure="timeout") for n in range(2)]
        cluster = only(called=[*fallen, called(3)])
        assert (cluster.kind, cluster.subject.model, cluster.subject.code) == ("fallback", "a", "timeout")

    def test_answers_that_were_cut_off_of_those_that_were_read(self) -> None:
        cut = [called(n, finish_reason="length") for n in range(2)]
        cluster = only(called=[*cut, called(3, finish_reason="stop"), called(4)])
        assert (cluster.kind, cluster.failing.n, cluster.failing.of) == ("cut_off", 2, 3)


class TestEvals:
    def test_what_fails_and_what_flipped(self) -> None:
        items = [item(n, failed=["same"], flipped=True) for n in range(2)]
        items += [item(2, failed=["same"], flipped=False), item(3, flipped=False)]
        found = report(tested=items).clusters
        assert [(each.kind, each.failing.n, each.failing.of) for each in found] == [("eval", 3, 4), ("flip", 2, 4)]
        assert found[0].examples[0].output_item_id == "outputitem_0"
        assert found[0].trend is None


class TestReport:
    def test_nothing_says_what_is_missing(self) -> None:
        found = report()
        assert found.clusters == []
        assert found.missing == ["calls", "judgments", "people", "rules", "judges", "evals"]
        assert found.looked_at.since is None

    def test_what_there_is_is_not_missing(self) -> None:
        found = report(judged=[judged(1)], called=[called(1)])
        assert found.missing == ["rules", "judges", "evals"]
        assert (found.looked_at.judgments, found.looked_at.calls) == (1, 1)
