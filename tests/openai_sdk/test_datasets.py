"""From a table that somebody exported to a job, through httpx and the SDK: what no SDK has a method for is plain HTTP."""

import csv
import io
import json

import httpx
import pytest
from openai import OpenAI

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import ended, wait_until

pytestmark = pytest.mark.train

EXAMPLES = 24


def alpaca() -> bytes:
    """As a spreadsheet exports it: semicolons, a byte order mark, and one row without an answer."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(["Instruction", "Input", "Output"])
    for number in range(EXAMPLES):
        writer.writerow(
            ["Add the two numbers; say nothing else.", f"{number} and 1" if number % 2 else "", f"It is {number + 1}."]
        )
    writer.writerow(["Nothing comes of this.", "", ""])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


@pytest.fixture
def http(stack: DemoStack, key: Key) -> httpx.Client:
    return httpx.Client(base_url=f"{stack.url}/v1", headers={"authorization": f"Bearer {key.value}"}, timeout=120)


def test_table_becomes_a_job(http: httpx.Client, client: OpenAI) -> None:
    sent = {"file": ("sums.csv", alpaca())}
    with http:
        shown = http.post("/datasets/import", files=sent, data={"split": "0.2"}).json()
        assert (shown["layout"], shown["source"]["encoding"], shown["file"]) == ("alpaca", "utf-8", None)
        assert shown["confidence"] > 90
        assert shown["mapping"] == {"user": "Instruction", "context": "Input", "assistant": "Output"}
        assert shown["skipped"]["rows"] == [{"row": EXAMPLES + 1, "reason": "column `Output` is empty"}]
        assert (
            shown["examples"][1]["example"]["messages"][0]["content"]
            == "Add the two numbers; say nothing else.\n\n1 and 1"
        )
        assert shown["report"]["tokens"]["source"] == "counted"
        stored = http.post("/datasets/import", files=sent, data={"store": "true"}).json()
        report = http.get(f"/files/{stored['file']['id']}/report").json()["report"]
    assert (report["examples"], report["bad_examples"], report["method"]) == (EXAMPLES, 0, "supervised")
    file = client.files.retrieve(stored["file"]["id"])
    assert (file.filename, file.purpose) == ("sums.jsonl", "fine-tune")
    lines = client.files.content(file.id).text.splitlines()
    assert [json.loads(line) for line in lines][:10] == [each["example"] for each in stored["examples"]]

    job = client.fine_tuning.jobs.create(model="starter", training_file=file.id)
    summary = f"Training file: {EXAMPLES} examples, {report['tokens']['total']:,} tokens, quality score {report['score']} of 100"

    def told() -> list[str]:
        return [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=50)]

    wait_until(lambda: "Files validated, moving job to queued state" in told(), f"{job.id} is validated")
    assert summary in told()
    warnings = [event.message for event in client.fine_tuning.jobs.list_events(job.id) if event.level == "warn"]
    assert any("only 24 examples" in message for message in warnings)
    client.fine_tuning.jobs.cancel(job.id)
    assert ended(client, job.id).status == "cancelled"
    client.files.delete(file.id)


def test_unsure_columns_are_asked_for(http: httpx.Client) -> None:
    table = {"file": ("t.csv", b"left,right\nWhere is it?,Here it is.\nWho is it?,It is me.\n")}
    with http:
        shown = http.post("/datasets/import", files=table).json()
        assert (shown["mapping_required"], shown["report"]) == (True, None)
        refused = http.post("/datasets/import", files=table, data={"store": "true"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "mapping")
        mapping = json.dumps({"user": "left", "assistant": "right"})
        assert http.post("/datasets/import", files=table, data={"mapping": mapping}).json()["confidence"] == 100
