"""client.files"""

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from tests.openai_sdk.stacks import examples

pytestmark = pytest.mark.train

CONTENT = examples(12)


class TestFiles:
    def test_create_retrieve_content_delete(self, client: OpenAI) -> None:
        made = client.files.create(file=("a.jsonl", CONTENT), purpose="fine-tune")
        assert (made.object, made.filename, made.bytes, made.purpose) == ("file", "a.jsonl", len(CONTENT), "fine-tune")
        assert client.files.wait_for_processing(made.id).status == "processed"
        assert client.files.retrieve(made.id) == made
        assert client.files.content(made.id).read() == CONTENT
        deleted = client.files.delete(made.id)
        assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "file", True)
        for gone in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(NotFoundError):
                gone(made.id)

    def test_streams_content(self, client: OpenAI) -> None:
        large = CONTENT * 400
        made = client.files.create(file=("large.jsonl", large), purpose="fine-tune")
        with client.files.with_streaming_response.content(made.id) as response:
            assert b"".join(response.iter_bytes()) == large
        client.files.delete(made.id)

    def test_lists_page_after_page(self, client: OpenAI) -> None:
        made = [client.files.create(file=(f"{number}.txt", b"text"), purpose="user_data").id for number in range(5)]
        page = client.files.list(purpose="user_data", limit=2)
        assert page.has_next_page()
        listed = [file.id for file in page]
        assert listed[:5] == made[::-1]
        assert len(listed) == len(set(listed))
        ascending = [file.id for file in client.files.list(purpose="user_data", limit=2, order="asc")]
        assert ascending == listed[::-1]
        for each in made:
            client.files.delete(each)
        assert not set(made) & {file.id for file in client.files.list(purpose="user_data")}

    def test_expires_after(self, client: OpenAI) -> None:
        hour = {"anchor": "created_at", "seconds": 3600}
        made = client.files.create(file=("a.txt", b"x"), purpose="user_data", expires_after=hour)  # type: ignore[arg-type]
        assert made.expires_at == made.created_at + 3600
        client.files.delete(made.id)

    def test_refusals(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError, match="jsonl") as refused:
            client.files.create(file=("a.txt", CONTENT), purpose="fine-tune")
        assert refused.value.param == "file"
        with pytest.raises(BadRequestError) as refused:
            client.files.create(file=("a.jsonl", CONTENT), purpose="homework")  # type: ignore[arg-type]
        assert refused.value.param == "purpose"
