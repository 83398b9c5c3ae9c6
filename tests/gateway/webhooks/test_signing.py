"""What OpenAI's own SDK verifies."""

import base64
import json
import time

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from gateway.webhooks.signing import headers, hint_of, new_secret

BODY = json.dumps(
    {"id": "evt_1", "object": "event", "type": "fine_tuning.job.succeeded", "created_at": 5, "data": {"id": "ftjob-ü"}}
).encode()


def unwrapped(secret: str, body: bytes, sent: dict[str, str]) -> str:
    with OpenAI(api_key="x", webhook_secret=secret) as client:
        return client.webhooks.unwrap(body, sent).type


class TestHeaders:
    def test_are_what_the_sdk_verifies(self) -> None:
        secret = new_secret()
        sent = headers([secret], "evt_1", int(time.time()), BODY)
        assert unwrapped(secret, BODY, sent) == "fine_tuning.job.succeeded"
        assert sent["webhook-id"] == "evt_1"

    def test_two_secrets_sign_while_both_hold(self) -> None:
        new, old = new_secret(), new_secret()
        sent = headers([new, old], "evt_1", int(time.time()), BODY)
        assert unwrapped(new, BODY, sent) == unwrapped(old, BODY, sent)
        with pytest.raises(InvalidWebhookSignatureError):
            unwrapped(new_secret(), BODY, sent)

    @pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body"])
    def test_sign_the_id_the_time_and_the_body(self, changed: str) -> None:
        secret = new_secret()
        sent = headers([secret], "evt_1", int(time.time()), BODY)
        forged = sent | {"webhook-id": "evt_2"} if changed == "webhook-id" else dict(sent)
        if changed == "webhook-timestamp":
            forged["webhook-timestamp"] = str(int(time.time()) + 1)
        with pytest.raises(InvalidWebhookSignatureError):
            unwrapped(secret, BODY + b" " if changed == "body" else BODY, forged)


class TestSecret:
    def test_has_256_random_bits(self) -> None:
        first, second = new_secret(), new_secret()
        assert first != second
        assert len(base64.b64decode(first.removeprefix("whsec_"))) == 32

    def test_hint_shows_four_characters(self) -> None:
        secret = new_secret()
        assert hint_of(secret) == f"whsec_...{secret[-5:-1]}"
