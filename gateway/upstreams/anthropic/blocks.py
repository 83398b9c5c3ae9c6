"""Parts of a message as Anthropic's content blocks: text, images, documents (anthropic.types.ContentBlockParam)."""

import re
from typing import Any

from gateway.errors import InvalidRequest
from gateway.upstreams.anthropic.chat import (
    Content,
    FilePart,
    FileSource,
    ImagePart,
    Part,
    RefusalPart,
    TextPart,
)

Block = dict[str, Any]
IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""anthropic.types.Base64ImageSourceParam."""
_data_url = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,", re.IGNORECASE)
_web_url = re.compile(r"https?://", re.IGNORECASE)


def blocks_of(content: Content, param: str) -> list[Block]:
    """Content blocks of a message. Text without a visible character is left out: Anthropic refuses it.

    Args:
        param: where the content stands in the request, for errors.

    Raises:
        InvalidRequest: audio, a file or an image that Anthropic does not take.
    """
    if content is None or isinstance(content, str):
        return text_blocks(content)
    return [
        block for index, part in enumerate(content) for block in _blocks_of_part(part, f"{param}[{index}]") if block
    ]


def text_blocks(text: str | None) -> list[Block]:
    return [{"type": "text", "text": text}] if text and not text.isspace() else []


def text_only(content: Content, param: str) -> list[Block]:
    """Content blocks of a message that holds text and nothing else. Raises InvalidRequest for other parts."""
    if isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, TextPart | RefusalPart):
                raise InvalidRequest(
                    f"Invalid '{param}[{index}].type': only text is expected here.", param=f"{param}[{index}].type"
                )
    return blocks_of(content, param)


def _blocks_of_part(part: Part, param: str) -> list[Block]:
    match part:
        case TextPart():
            return [_cached(block, part.cache_control) for block in text_blocks(part.text)]
        case RefusalPart():
            return text_blocks(part.refusal)
        case ImagePart():
            source = _image_source(part.image_url.url, f"{param}.image_url.url")
            return [_cached({"type": "image", "source": source}, part.cache_control)]
        case FilePart():
            return [_cached(_document(part.file, f"{param}.file"), part.cache_control)]
        case _:
            raise InvalidRequest(
                f"Invalid '{param}.type': Anthropic's models take no audio.",
                param=f"{param}.type",
                code="unsupported_value",
            )


def _cached(block: Block, cache_control: Block | None) -> Block:
    return block | {"cache_control": cache_control} if cache_control else block


def _image_source(url: str, param: str) -> Block:
    if _web_url.match(url):
        return {"type": "url", "url": url}
    kind, content = _data(url, param)
    kind = "image/jpeg" if kind == "image/jpg" else kind
    if kind not in IMAGES:
        raise InvalidRequest(
            f"Invalid '{param}': Anthropic takes images of the types {', '.join(sorted(IMAGES))}.", param=param
        )
    return {"type": "base64", "media_type": kind, "data": content}


def _document(file: FileSource, param: str) -> Block:
    if not file.file_data:
        raise InvalidRequest(
            f"Invalid '{param}': files of this gateway are unknown to Anthropic; send the content as 'file_data', "
            "a data: URL of a PDF.",
            param=param,
            code="unsupported_value",
        )
    kind, content = _data(file.file_data, f"{param}.file_data")
    if kind != "application/pdf":
        raise InvalidRequest(
            f"Invalid '{param}.file_data': Anthropic takes files of the type application/pdf; send text as text.",
            param=f"{param}.file_data",
        )
    block: Block = {"type": "document", "source": {"type": "base64", "media_type": kind, "data": content}}
    return block | ({"title": file.filename} if file.filename else {})


def _data(url: str, param: str) -> tuple[str, str]:
    """Media type and base64 text of a data: URL."""
    if match := _data_url.match(url):
        return match[1].lower(), url[match.end() :]
    raise InvalidRequest(
        f"Invalid '{param}': a data: URL with base64 content is expected"
        + (", or an http(s) URL." if param.endswith("image_url.url") else "."),
        param=param,
    )
