"""What the demo does, with the official `openai` SDK over a socket: chat, upload, fine-tune, compare, and read the bill."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openai import OpenAI
from rich.console import Console
from rich.table import Table

from deploy.demo.stack import DemoError, DemoStack
from deploy.demo.telling import Telling, plain_table

FOLDER = Path(__file__).parent / "data"
BASE = "starter"
SUFFIX = "support"
SEED = 7
BASE_AT_MOST, TUNED_AT_LEAST = 0.2, 0.9
"""Exact answers on held-out phrasings: what the demo promises to show."""
BILL_SECONDS = 30


class Demo:
    """The steps, in the order in which they are told."""

    def __init__(self, stack: DemoStack, out: Console) -> None:
        self._stack = stack
        self._out = out
        self._telling = Telling(out)
        self._calls = 0

    def run(self) -> str:
        """The model that was trained."""
        stack = self._stack
        self._telling.title(2, "A project and a key", "tuneway keys create --project shop --name web")
        stack.key = stack.make_key("shop", "web")
        judge = stack.make_key("shop", "evaluation")
        self._telling.tell(f"{stack.key.value[:15]}...  (stored as a hash, shown once)")
        self._web = OpenAI(base_url=f"{stack.url}/v1", api_key=stack.key.value)
        self._judge = OpenAI(base_url=f"{stack.url}/v1", api_key=judge.value)
        self._chat()
        model = self._fine_tune()
        self._compare(model)
        self._bill({stack.key.id: stack.key.name, judge.id: judge.name})
        return model

    def _chat(self) -> None:
        self._telling.title(3, "Chat", "client.chat.completions.create(model='starter', ...)")
        for question in ("Hello! Who are you?", "What is the capital of France?"):
            self._telling.tell(f"you      {question}")
            self._telling.tell(f"starter  {self._ask(self._web, BASE, [{'role': 'user', 'content': question}])}")
        self._telling.tell("you      Good morning, how are you?   (streamed)")
        self._out.print("   starter  ", end="")
        for piece in self._streamed("Good morning, how are you?"):
            self._out.print(piece, end="", markup=False)
        self._out.print()

    def _streamed(self, question: str) -> Iterator[str]:
        self._calls += 1
        messages: Any = [{"role": "user", "content": question}]
        for chunk in self._web.chat.completions.create(model=BASE, messages=messages, temperature=0, stream=True):
            yield chunk.choices[0].delta.content or ""

    def _fine_tune(self) -> str:
        self._telling.title(
            4, "Fine-tune", "client.files.create(...); client.fine_tuning.jobs.create(model='starter', ...)"
        )
        files = [self._upload(name) for name in ("training.jsonl", "validation.jsonl")]
        job = self._web.fine_tuning.jobs.create(
            model=BASE, training_file=files[0], validation_file=files[1], suffix=SUFFIX, seed=SEED
        )
        self._telling.tell(f"{job.id} with {files[0]} and {files[1]}")
        return self._telling.train(self._web, job)

    def _upload(self, name: str) -> str:
        with (FOLDER / name).open("rb") as file:
            return self._web.files.create(file=file, purpose="fine-tune").id

    def _compare(self, tuned: str) -> None:
        examples = [json.loads(line) for line in (FOLDER / "heldout.jsonl").read_text().splitlines()]
        self._telling.title(5, "Compare", f"{len(examples)} questions in words that neither model was trained on")
        answers = {
            model: [self._ask(self._judge, model, each["messages"][:-1]) for each in examples]
            for model in (BASE, tuned)
        }
        expected = [each["messages"][-1]["content"] for each in examples]
        scores = {model: sum(map(str.__eq__, given, expected)) / len(expected) for model, given in answers.items()}
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("question", f"{BASE}  {scores[BASE]:.2f} exact", f"tuned  {scores[tuned]:.2f} exact"):
            table.add_column(column, max_width=44)
        for index in range(0, len(examples), len(examples) // 6):
            table.add_row(examples[index]["messages"][-2]["content"], answers[BASE][index], answers[tuned][index])
        self._telling.show(table)
        if scores[BASE] > BASE_AT_MOST or scores[tuned] < TUNED_AT_LEAST:
            raise DemoError(
                f"expected at most {BASE_AT_MOST} exact answers of the base and at least {TUNED_AT_LEAST} of the tuned "
                f"model, got {scores[BASE]:.2f} and {scores[tuned]:.2f}"
            )

    def _ask(self, client: OpenAI, model: str, messages: Any) -> str:
        self._calls += 1
        reply = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=60)
        return (reply.choices[0].message.content or "").strip()

    def _bill(self, names: dict[str, str]) -> None:
        self._telling.title(6, "The bill", "client.admin.organization.usage.completions(...) and .costs(...)")
        usage, costs = self._usage()
        table = plain_table("key", "model", right=("calls", "input", "output", "USD"))
        for (key, model), row in sorted(usage.items()):
            calls, tokens = str(row["num_model_requests"]), (str(row["input_tokens"]), str(row["output_tokens"]))
            table.add_row(names[key], model, calls, *tokens, f"{costs[key, model]:.6f}")
        self._telling.show(table)
        if not all(costs[place] > 0 for place in usage):
            raise DemoError("a model was used and has no cost")

    def _usage(self) -> tuple[dict[tuple[str, str], Any], dict[tuple[str, str], float]]:
        """Usage and cost by (key, model), once the log has every call of this demo."""
        admin = OpenAI(
            base_url=f"{self._stack.url}/v1", api_key=self._stack.key.value, admin_api_key=self._stack.admin_key
        ).admin.organization
        day = int(time.time()) // 86_400 * 86_400 - 86_400
        deadline = time.monotonic() + BILL_SECONDS
        while True:
            pages = admin.usage.completions(start_time=day, group_by=["api_key_id", "model"])
            rows = [row.to_dict() for bucket in pages.data for row in bucket.results]
            if sum(row["num_model_requests"] for row in rows) == self._calls:  # type: ignore[misc]
                break
            if time.monotonic() > deadline:
                raise DemoError(f"{self._calls} calls were made, but the usage API knows {rows}")
            time.sleep(0.2)
        costs: defaultdict[tuple[str, str], float] = defaultdict(float)
        for bucket in admin.usage.costs(start_time=day, group_by=["api_key_id", "line_item"]).data:
            for row in (each.to_dict() for each in bucket.results):
                amount: Any = row["amount"]
                costs[str(row["api_key_id"]), str(row["line_item"]).rsplit(", ", 1)[0]] += amount["value"]
        return {(str(row["api_key_id"]), str(row["model"])): row for row in rows}, costs
