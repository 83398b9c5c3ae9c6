"""Images and files in a message."""

from typing import Any

import pytest

from tests.gateway.upstreams.anthropic.translated import PNG, refused, text, translated


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}} | more


def file(**fields: str) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def blocks(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return translated({"role": "user", "content": list(parts)})["messages"][0]["content"]


def param(part: dict[str, Any]) -> str | None:
    return refused({"role": "user", "content": [{"type": "text", "text": "x"}, part]}).param


class TestImages:
    @pytest.mark.parametrize(
        ("kind", "sent"),
        [("png", "png"), ("jpeg", "jpeg"), ("jpg", "jpeg"), ("GIF", "gif"), ("webp;charset=x", "webp")],
    )
    def test_a_data_url_becomes_its_content(self, kind: str, sent: str) -> None:
        source = {"type": "base64", "media_type": f"image/{sent}", "data": "QUJD"}
        assert blocks(image(f"data:image/{kind};base64,QUJD")) == [{"type": "image", "source": source}]

    @pytest.mark.parametrize("url", ["https://example.org/a.png?x=1", "HTTP://example.org/b"])
    def test_a_web_url_stays_one(self, url: str) -> None:
        assert blocks(image(url)) == [{"type": "image", "source": {"type": "url", "url": url}}]

    def test_text_and_images_keep_their_order(self) -> None:
        parts = [{"type": "text", "text": "a"}, image(PNG), {"type": "text", "text": "b"}]
        assert [block["type"] for block in blocks(*parts)] == ["text", "image", "text"]

    @pytest.mark.parametrize(
        "url", ["data:image/tiff;base64,QUJD", "data:image/png,QUJD", "ftp://x/y.png", "QUJD", "", "data:;base64,QUJD"]
    )
    def test_others_are_refused(self, url: str) -> None:
        assert param(image(url)) == "messages[0].content[1].image_url.url"


class TestFiles:
    def test_a_pdf_becomes_a_document(self) -> None:
        assert blocks(file(file_data="data:application/pdf;base64,JVBERg==", filename="a.pdf")) == [
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                "title": "a.pdf",
            }
        ]

    def test_by_id_they_are_refused(self) -> None:
        assert param(file(file_id="file-1")) == "messages[0].content[1].file"

    @pytest.mark.parametrize("content", ["data:text/plain;base64,QQ==", "QQ=="])
    def test_other_types_are_refused(self, content: str) -> None:
        assert param(file(file_data=content)) == "messages[0].content[1].file.file_data"


class TestOthers:
    def test_audio_is_refused(self) -> None:
        assert param({"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}) == (
            "messages[0].content[1].type"
        )

    def test_where_a_cache_may_break_off_is_kept(self) -> None:
        mark = {"cache_control": {"type": "ephemeral"}}
        assert blocks({"type": "text", "text": "long"} | mark, image(PNG, **mark)) == [
            text("long")[0] | mark,
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG.split(",")[1]}}
            | mark,
        ]
