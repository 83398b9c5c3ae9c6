"""client.models"""

import pytest
from openai import AuthenticationError, NotFoundError, OpenAI
from openai.types.fine_tuning import FineTuningJob

from deploy.demo.stack import DemoStack
from tests.openai_sdk.stacks import connect, user

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
