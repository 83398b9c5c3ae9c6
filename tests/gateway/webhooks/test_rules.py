import pytest

from gateway.errors import InvalidRequest
from gateway.webhooks.rules import check_event_types, check_name, check_url, host_of


class TestCheckUrl:
    @pytest.mark.parametrize(
        "url",
        ["https://a.example/hook?token=x", "http://127.0.0.1:9/x", "http://[::1]:8080/", "https://ex\u00e4mple.com"],
    )
    def test_takes_http_and_https_anywhere(self, url: str) -> None:
        assert check_url(url) == url

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("", "needed"),
            ("ftp://a.example", "https://"),
            ("file:///etc/passwd", "https://"),
            ("https://", "host"),
            ("https://a.example:0/", "port"),
            ("https://a.example:99999/", "port"),
            ("https://u:geheim@a.example/", "user and password"),
            ("https://a.example/#x", "fragment"),
            ("https://a.example/ x", "spaces"),
            ("https://a.example\r\nx: y", "spaces"),
            ("http://169.254.169.254/latest", "metadata"),
            ("http://0xa9fea9fe/", "metadata"),
            ("https://" + "a" * 2000, "2000"),
        ],
    )
    def test_refuses_by_its_field_and_never_repeats_it(self, url: str, why: str) -> None:
        with pytest.raises(InvalidRequest) as refused:
            check_url(url)
        assert refused.value.param == "url"
        assert why in str(refused.value)
        assert "geheim" not in str(refused.value)


class TestCheckEventTypes:
    def test_keeps_each_once(self) -> None:
        twice = ["budget.exhausted", "fine_tuning.job.failed", "budget.exhausted"]
        assert check_event_types(twice) == ["budget.exhausted", "fine_tuning.job.failed"]

    def test_names_the_one_that_is_wrong_and_what_there_is(self) -> None:
        with pytest.raises(InvalidRequest, match=r"fine_tuning\.job\.succeeded") as refused:
            check_event_types(["budget.exhausted", "batch.completed"])
        assert refused.value.param == "event_types[1]"
        with pytest.raises(InvalidRequest):
            check_event_types([])


class TestCheckName:
    @pytest.mark.parametrize("name", ["", " ", "a" * 257, "a\x00b", "a\nb"])
    def test_refuses(self, name: str) -> None:
        with pytest.raises(InvalidRequest):
            check_name(name)


class TestHostOf:
    def test_leaves_the_secret_of_a_chat_services_url_out(self) -> None:
        assert host_of("https://hooks.slack.com:443/services/T0/B0/geheim?x=geheim") == "hooks.slack.com:443"
