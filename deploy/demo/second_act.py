"""The demo's second act: what people and rules say of logged answers becomes the next model, which an eval holds against
the base. All of it with the `openai` SDK; what OpenAI has no API for, with its `post` and `get`."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from openai import OpenAI
from rich.console import Console

from deploy.demo.stack import DemoError, DemoStack
from deploy.demo.steps import BASE, FOLDER, SEED
from deploy.demo.telling import Telling, plain_table

ANSWERS = 300
BY_TUNED = 75
"""Of the answers: by the model of the first act. The rest is the base's."""
AT_ONCE = 8
EPOCHS = 5
WAIT_SECONDS = 300
BETTER_BY = 0.3
"""The lower end of the interval that the tuned model's pass rate is better by: what this act promises to show."""
RULES = [
    {"type": "length", "unit": "words", "least": 2, "most": 40},
    {"type": "language", "languages": ["en"]},
    {"type": "repetition"},
    {"type": "regex", "pattern": "(?i)^sorry, i do not know", "must": "not_match"},
    {"type": "personal_data"},
]
EXACT = {
    "type": "string_check",
    "name": "exact",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}",
    "operation": "eq",
}
ITEM = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
}
ASKED = {"type": "template", "template": [{"role": "user", "content": "{{ item.question }}"}]}

Json = dict[str, Any]


class SecondAct:
    """Its steps, in the order in which they are told."""

    def __init__(self, stack: DemoStack, out: Console, tuned: str) -> None:
        """Args: tuned: the model of the first act."""
        self._telling = Telling(out)
        self._client = OpenAI(base_url=f"{stack.url}/v1", api_key=stack.key.value)
        self._tuned = tuned

    def run(self) -> None:
        judge = self._traffic()
        self._rules(judge)
        version = self._dataset()
        model = self._train(version)
        self._evaluate(model)

    def _traffic(self) -> str:
        """Answers that a reviewer says something of; the id of the judge that watches."""
        self._telling.title(7, "Feedback", "client.post('/feedback', body={'completion_id': ..., 'thumbs': 'up'})")
        judge = self._post("/judges", {"name": "form", "spec": {"type": "rule", "rules": RULES}, "watch": {}})
        lines = _lines("training.jsonl")[:ANSWERS]
        asked = [(self._tuned if n < BY_TUNED else BASE, *line) for n, line in enumerate(lines)]
        started = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            liked = sum(pool.map(lambda each: self._reviewed(*each), asked))
        self._telling.tell(
            f"{len(asked)} answers in {time.monotonic() - started:.0f} s: the reviewer liked {liked}, and wrote "
            f"{len(asked) - liked} as they should have been"
        )
        if not 0 < liked < len(asked):
            raise DemoError("the reviewer liked all answers, or none")
        return judge["id"]

    def _reviewed(self, model: str, question: str, right: str) -> bool:
        """Whether the reviewer liked the answer."""
        messages: Any = [{"role": "user", "content": question}]
        reply = self._client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=30)
        liked = (reply.choices[0].message.content or "").strip() == right
        said = {"thumbs": "up"} if liked else {"thumbs": "down", "correction": right}
        self._post("/feedback", {"completion_id": reply.id, **said})
        return liked

    def _rules(self, judge: str) -> None:
        self._telling.title(8, "Rules", "POST /judges {'spec': {'type': 'rule', 'rules': [...]}, 'watch': {}}")
        rows = self._until(lambda: self._judged(ANSWERS), "the rules had not judged every answer")
        row = rows[0]
        self._telling.tell(
            f"length, language, loops, giving up, personal data: {row['passed']} of {row['judgments']} answers passed, {row['errors']} "
            f"could not be judged; none waits ({judge})"
        )
        if row["errors"]:
            self._telling.tell(f"could not be judged: {self._errors()}")

    def _errors(self) -> str:
        """Why, the most frequent reason first."""
        errors = self._get("/judgments?source=rule&status=error&limit=100")["data"]
        reasons = Counter(f"{each['error_code']} ({each['rationale']})" for each in errors)
        return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())

    def _judged(self, wanted: int) -> list[Json] | None:
        rows = self._get("/judgments/summary?source=rule")["data"]
        return rows if rows and rows[0]["judgments"] >= wanted else None

    def _dataset(self) -> Json:
        """A version that was built."""
        self._telling.title(9, "A dataset", "POST /datasets {'recipe': {'kind': 'sft', ...}}")
        recipe = {"kind": "sft", "split": {"validation": 0.1}, "self_training": {"max_share": 0.5}}
        dataset = self._post("/datasets", {"name": "reviewed", "recipe": recipe})
        url = f"/datasets/{dataset['id']}/versions/1"
        version = self._until(lambda: _ended(self._get(url)), "the dataset was not built")
        if version["status"] != "completed":
            raise DemoError(f"the dataset {version['status']}: {version['error']}")
        report = self._get(f"{url}/report")
        signals = ", ".join(f"{count} by {signal}" for signal, count in report["by_signal"].items())
        dropped = ", ".join(f"{each['count']} {each['reason']}" for each in report["dropped"]) or "nothing"
        self._telling.tell(
            f"{version['training_rows']} rows to train on and {version['validation_rows']} beside them, never alike "
            f"({signals})"
        )
        self._telling.tell(f"left out: {dropped}; {report['training']['tokens']['total']} tokens")
        self._telling.tell(f"{version['training_file']} and {version['validation_file']}, ready for a job")
        return version

    def _train(self, version: Json) -> str:
        self._telling.title(10, "The next model", "client.fine_tuning.jobs.create(training_file=<the dataset's>)")
        job = self._client.fine_tuning.jobs.create(
            model=BASE,
            training_file=version["training_file"],
            validation_file=version["validation_file"],
            suffix="reviewed",
            seed=SEED,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS}}},
        )
        self._telling.tell(job.id)
        return self._telling.train(self._client, job)

    def _evaluate(self, tuned: str) -> None:
        """Raises DemoError: the tuned model is not clearly better."""
        self._telling.title(11, "An eval", "client.evals.create(...); client.evals.runs.create(...)")
        items = [{"item": {"question": question, "answer": answer}} for question, answer in _lines("heldout.jsonl")]
        config: Any = {"type": "custom", "item_schema": ITEM, "include_sample_schema": True}
        criteria: Any = [EXACT]
        suite = self._client.evals.create(name="held out", data_source_config=config, testing_criteria=criteria)
        runs = [self._begin(suite.id, model, items) for model in (BASE, tuned)]
        base, run = (self._until(lambda id=id: self._run(suite.id, id), "the run did not end") for id in runs)
        found = self._get(f"/evals/{suite.id}/runs/{run['id']}/compare?with={base['id']}")["comparison"]
        table = plain_table("model", right=("exact", "of", "pass rate", "95%"))
        for each in (base, run):
            rate, counts = each["metrics"]["pass_rate"], each["result_counts"]
            interval = f"{rate['low']:.2f} to {rate['high']:.2f}"
            table.add_row(each["model"], str(counts["passed"]), str(counts["total"]), f"{rate['value']:.2f}", interval)
        self._telling.show(table)
        better = found["primary"]
        self._telling.tell(
            f"better by [bold]{better['difference']:.2f}[/] ({better['low']:.2f} to {better['high']:.2f}), p = "
            f"{better['p']:.1g} ({better['test']})"
        )
        if better["low"] is None or better["low"] < BETTER_BY:
            raise DemoError(f"expected the tuned model to be better by {BETTER_BY} at least, got {better}")

    def _begin(self, eval_id: str, model: str, items: list[Json]) -> str:
        source: Any = {
            "type": "completions",
            "model": model,
            "input_messages": ASKED,
            "source": {"type": "file_content", "content": items},
            "sampling_params": {"temperature": 0, "max_completion_tokens": 60},
        }
        return self._client.evals.runs.create(eval_id, name=model, data_source=source).id

    def _run(self, eval_id: str, run_id: str) -> Json | None:
        """A run that has ended. Raises DemoError: not as it should."""
        run = self._get(f"/evals/{eval_id}/runs/{run_id}")
        if run["status"] in ("failed", "canceled"):
            raise DemoError(f"the run {run['status']}: {run['error']}")
        return run if run["status"] == "completed" else None

    def _until(self, look: Any, otherwise: str) -> Any:
        """What `look` finds, once it finds something."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise DemoError(f"{otherwise} after {WAIT_SECONDS} s")
            time.sleep(0.3)
        return found

    def _post(self, path: str, body: Json) -> Json:
        answer: Any = self._client.post(path, body=body, cast_to=object)
        return answer

    def _get(self, path: str) -> Json:
        answer: Any = self._client.get(path, cast_to=object)
        return answer


def _ended(version: Json) -> Json | None:
    return version if version["status"] in ("completed", "failed", "cancelled") else None


def _lines(name: str) -> list[tuple[str, str]]:
    """Question and answer of each line of a data set."""
    examples = [json.loads(line)["messages"] for line in (FOLDER / name).read_text().splitlines()]
    return [(messages[-2]["content"], messages[-1]["content"]) for messages in examples]
