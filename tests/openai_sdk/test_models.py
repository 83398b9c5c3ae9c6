"""client.models"""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from openai import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    HttpxBinaryResponseContent,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
)
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack
from tests.openai_sdk.stacks import EXAMPLES, connect, ended, examples, question_and_answer, start_job, user, wait_until

safetensors = pytest.importorskip("safetensors.torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.train


class TestModels:
    def test_lists_the_base_and_the_other_providers_models(self, client: OpenAI) -> None:
        owners = {model.id: model.owned_by for model in client.models.list()}
        assert owners["starter"] == "tuneway"
        assert owners["echo"] == "provider"

    def test_a_tuned_model_is_listed_and_retrieved(self, client: OpenAI, tuned: FineTuningJob) -> None:
        name = str(tuned.fine_tuned_model)
        assert name in [model.id for model in client.models.list()]
        assert client.models.retrieve(name).id == name

    def test_retrieves_one(self, client: OpenAI) -> None:
        assert client.models.retrieve("starter").object == "model"

    @pytest.mark.parametrize("name", ["gpt-4o", "org/model", "ft:starter:tuneway::00000000"])
    def test_an_unknown_model(self, client: OpenAI, name: str) -> None:
        with pytest.raises(NotFoundError) as refused:
            client.models.retrieve(name)
        assert refused.value.code == "model_not_found"
        with pytest.raises(NotFoundError, match="does not exist or you do not have access") as refused:
            client.chat.completions.create(model=name, messages=user("hello"))
        assert refused.value.code == "model_not_found"
        assert refused.value.param == "model"


class TestDelete:
    def test_is_gone_everywhere(self, client: OpenAI, stack: DemoStack, tuned: FineTuningJob) -> None:
        job = ended(client, start_job(client, examples(12)).id)
        name = str(job.fine_tuned_model)
        client.chat.completions.create(model=name, messages=user("hello"), max_tokens=1)
        deleted = client.models.delete(name)
        assert (deleted.id, deleted.object, deleted.deleted) == (name, "model", True)
        assert name not in [model.id for model in client.models.list()]
        for call in (
            lambda: client.models.retrieve(name),
            lambda: client.models.delete(name),
            lambda: client.chat.completions.create(model=name, messages=user("hello")),
        ):
            with pytest.raises(NotFoundError) as refused:
                call()
            assert refused.value.code == "model_not_found"
        log = stack.data_dir / "logs" / "worker.log"
        wait_until(lambda: f"unloaded {name} from " in log.read_text(errors="replace"), "the engine has let go of it")
        assert client.models.retrieve(str(tuned.fine_tuned_model))
        assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model == name

    @pytest.mark.parametrize("name", ["starter", "echo"])
    def test_what_was_not_made_here_stays(self, client: OpenAI, name: str) -> None:
        with pytest.raises(PermissionDeniedError, match="was not fine-tuned here"):
            client.models.delete(name)
        assert client.models.retrieve(name)

    def test_of_another_project(self, stranger: OpenAI, tuned: FineTuningJob) -> None:
        with pytest.raises(NotFoundError):
            stranger.models.delete(str(tuned.fine_tuned_model))

    def test_while_a_job_continues_from_it(self, client: OpenAI, tuned: FineTuningJob) -> None:
        job = start_job(client, examples(24), model=str(tuned.fine_tuned_model), n_epochs=50)
        with pytest.raises(ConflictError, match=f"job {job.id} continues from it"):
            client.models.delete(str(tuned.fine_tuned_model))
        client.fine_tuning.jobs.cancel(job.id)


class TestExport:
    """An extension; the SDK's own way to call what it has no method for."""

    def test_adapter(self, client: OpenAI, tuned: FineTuningJob, tmp_path: Path) -> None:
        directory = exported(client, str(tuned.fine_tuned_model), "adapter", tmp_path)
        assert {path.name for path in directory.iterdir()} == {
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
        }
        weights = safetensors.load_file(directory / "adapter_model.safetensors")
        assert any("lora_A" in name for name in weights)
        card = (directory / "README.md").read_text()
        assert tuned.training_file in card
        assert hashlib.sha256(examples(EXAMPLES)).hexdigest() in card
        assert "| n_epochs | 12 |" in card

    def test_merged_answers_as_the_engine_does(self, client: OpenAI, tuned: FineTuningJob, tmp_path: Path) -> None:
        """Without an adapter, and without this server."""
        directory = exported(client, str(tuned.fine_tuned_model), "merged", tmp_path)
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype="float32").eval()
        same = 0
        for index in range(6):
            question, _ = question_and_answer(index)
            served = client.chat.completions.create(
                model=str(tuned.fine_tuned_model), messages=user(question), temperature=0, max_tokens=30
            )
            prompt = tokenizer.apply_chat_template(user(question), add_generation_prompt=True, return_tensors="pt")
            written = model.generate(**prompt, do_sample=False, max_new_tokens=30)[0, prompt["input_ids"].shape[1] :]
            same += tokenizer.decode(written, skip_special_tokens=True) == served.choices[0].message.content
        assert same >= 5  # the base's own 16 bits may tip a close decision

    def test_of_another_project(self, stranger: OpenAI, tuned: FineTuningJob) -> None:
        for wanted in ("adapter", "merged"):
            with pytest.raises(NotFoundError):
                stranger.get(f"/models/{tuned.fine_tuned_model}/export?format={wanted}", cast_to=object)


class TestFullWeights:
    def test_are_served_beside_the_base_and_exported(self, client: OpenAI, tmp_path: Path) -> None:
        started = start_job(client, examples(EXAMPLES), n_epochs=2, extra_body={"training": {"type": "full"}})
        job = ended(client, started.id)
        assert job.status == "succeeded", job.error
        name = str(job.fine_tuned_model)
        told = [event.message for event in client.fine_tuning.jobs.list_events(job.id)]
        assert not [message for message in told if message.startswith("The engine")]
        [question, _] = question_and_answer(0)
        reply = client.chat.completions.create(model=name, messages=user(question), temperature=0, max_tokens=20)
        assert reply.model == name
        with pytest.raises(BadRequestError, match="format=merged"):
            client.get(f"/models/{name}/export?format=adapter", cast_to=object)
        names = {path.name for path in exported(client, name, "merged", tmp_path).iterdir()}
        assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= names
        assert client.models.delete(name).deleted


def exported(client: OpenAI, name: str, wanted: str, directory: Path) -> Path:
    """What is in the archive, unpacked. The call is sent once more after a 503: merging may take a minute."""
    again = client.with_options(max_retries=2)
    content = again.get(f"/models/{name}/export?format={wanted}", cast_to=HttpxBinaryResponseContent)
    with tarfile.open(fileobj=io.BytesIO(content.read())) as tar:
        tar.extractall(directory, filter="data")
    [unpacked] = directory.iterdir()
    return unpacked


class TestKeys:
    @pytest.mark.parametrize("value", ["sk-wrong", "sk-svcacct-wrong", "x"])
    def test_a_wrong_key(self, stack: DemoStack, value: str) -> None:
        with connect(stack, value) as client:
            for call in (
                client.models.list,
                client.files.list,
                lambda: client.chat.completions.create(model="starter", messages=user("hello")),
            ):
                with pytest.raises(AuthenticationError) as refused:
                    call()
                assert refused.value.code == "invalid_api_key"
                assert value not in refused.value.message or len(value) < 3
