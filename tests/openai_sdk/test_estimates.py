"""/v1/fine_tuning/estimate beside the SDK, and what stands on a job when it has ended."""

from typing import Any

import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

pytestmark = pytest.mark.train


class TestEstimate:
    def test_says_before_what_the_job_did(self, client: OpenAI, stranger: OpenAI, tuned: FineTuningJob) -> None:
        """The speed is that of the last job, whichever that was. What a template writes around a message is four tokens in
        every report; the starter's writes a few more."""
        asked = {"model": "starter", "training_file": tuned.training_file, "method": _method(12, 8)}
        told = client.post("/fine_tuning/estimate", body=asked, cast_to=dict[str, Any])
        actual = _extra(tuned, "actual")
        assert told["steps"] == actual["steps"]
        [lora] = [option for option in told["options"] if option["training_type"] == "lora"]
        assert lora["speed_source"] == "measured"
        pages = [each.get("/fine_tuning/jobs?limit=100", cast_to=dict[str, Any]) for each in (client, stranger)]
        speeds = [job["actual"]["tokens_per_second"] for page in pages for job in page["data"] if job["actual"]]
        assert any(lora["tokens_per_second"] == pytest.approx(speed, abs=0.1) for speed in speeds)
        assert told["trained_tokens"] == pytest.approx(actual["trained_tokens"], rel=0.25)
        assert told["hardware"]["name"] == _extra(tuned, "training")["device"]

    def test_stands_on_the_job_beside_the_actual(self, tuned: FineTuningJob) -> None:
        estimate, actual = _extra(tuned, "estimate"), _extra(tuned, "actual")
        assert estimate["steps"] == actual["steps"]
        assert estimate["seconds"] > 0
        assert actual["peak_memory_bytes"] > 0


def _extra(job: FineTuningJob, name: str) -> Any:
    assert job.model_extra is not None
    return job.model_extra[name]


def _method(n_epochs: int, batch_size: int) -> dict[str, Any]:
    numbers = {"n_epochs": n_epochs, "batch_size": batch_size, "learning_rate_multiplier": 1.0}
    return {"type": "supervised", "supervised": {"hyperparameters": numbers}}
