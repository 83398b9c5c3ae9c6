"""Providers behind a forward proxy: http by absolute URL, https through a tunnel, with a password, and failures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.fakes.anthropic import FakeAnthropic, running_anthropic
from tests.fakes.proxy import Proxy, running_proxy
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, StartGateway, free_port
from tests.gateway.upstreams.http.certificates import certificate as make_certificate
from tests.gateway.upstreams.http.certificates import server_context

PASSWORD = "pass-w0rd"
HELLO: Any = [{"role": "user", "content": "one two"}]


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with running_proxy(PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "certificate.pem", "127.0.0.1")


@pytest.fixture(scope="module")
def secure(certificate: Path) -> Iterator[FakeAnthropic]:
    with running_anthropic(server_context(certificate)) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    start_gateway: StartGateway, proxy: Proxy, secure: FakeAnthropic, running_fake: Upstream, certificate: Path
) -> Iterator[RunningGateway]:
    ways = {
        "plain": (running_fake.url, proxy.url, "openai"),
        "secure": (secure.url, proxy.url, "anthropic"),
        "stranger": (running_fake.url, f"http://{proxy.address}", "openai"),
        "secure-stranger": (secure.url, f"http://team:wrong@{proxy.address}", "anthropic"),
        "gone": (running_fake.url, f"http://team:{PASSWORD}@127.0.0.1:{free_port()}", "openai"),
    }
    config = "".join(
        f'[[upstreams]]\nname = "{name}"\nkind = "{kind}"\nbase_url = "{url}"\nproxy = "{way}"\napi_key = "sk-x"\n'
        f'models = ["{name}"]\nserved_names = {{ "{name}" = "echo" }}\n'
        for name, (url, way, kind) in ways.items()
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(certificate))
        yield start_gateway(config=config, routing__retries="0")


@pytest.fixture
def client(gateway: RunningGateway, proxy: Proxy, upstream: Upstream) -> Iterator[OpenAI]:
    proxy.requests.clear()
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key["value"], max_retries=0, timeout=30) as client:
        yield client


class TestThrough:
    @pytest.mark.parametrize("stream", [False, True])
    def test_http_by_absolute_url(self, client: OpenAI, proxy: Proxy, upstream: Upstream, stream: bool) -> None:
        reply: Any = client.chat.completions.create(model="plain", messages=HELLO, stream=stream)
        assert list(reply)
        assert proxy.requests == [f"POST {upstream.url}/chat/completions HTTP/1.1"]
        assert {name.lower(): value for name, value in upstream.headers[-1].items()}["via"] == "1.1 test"

    @pytest.mark.parametrize("stream", [False, True])
    def test_https_through_a_tunnel(self, client: OpenAI, proxy: Proxy, secure: FakeAnthropic, stream: bool) -> None:
        reply: Any = client.chat.completions.create(model="secure", messages=HELLO, stream=stream)
        text = (
            "".join(chunk.choices[0].delta.content or "" for chunk in reply)
            if stream
            else reply.choices[0].message.content
        )
        assert text == "one two"
        address = secure.root.removeprefix("https://")
        assert proxy.requests in ([f"CONNECT {address} HTTP/1.1"], [])  # [] when the first tunnel is still open
        assert secure.headers[-1]["x-api-key"] == "sk-x"
        assert "proxy-authorization" not in secure.headers[-1]


class TestFailures:
    @pytest.mark.parametrize("model", ["stranger", "secure-stranger", "gone"])
    def test_are_the_gateways_and_tell_no_secret(self, gateway: RunningGateway, client: OpenAI, model: str) -> None:
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(model=model, messages=HELLO)
        assert raised.value.status_code == 502
        assert f"`{model}`" in str(raised.value)
        assert PASSWORD not in str(raised.value) + gateway.log

    @pytest.mark.parametrize("model", ["stranger", "secure-stranger"])
    def test_a_proxy_that_refuses_is_named(self, client: OpenAI, model: str) -> None:
        with pytest.raises(openai.InternalServerError, match="proxy") as raised:
            client.chat.completions.create(model=model, messages=HELLO)
        assert raised.value.code == "upstream_unreachable"
