"""OpenAI's request for a chat completion (contract section 1), as far as it is translated or refused.

Fields that are not here are left out of what Anthropic gets (docs/providers.md lists them).
"""

from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Object = dict[str, Any]


class TextPart(msgspec.Struct, tag="text", tag_field="type"):
    text: str
    cache_control: Object | None = None
    """Anthropic's own field, passed on (on images and tools too): where its prompt cache may break off."""


class ImageUrl(msgspec.Struct):
    url: str


class ImagePart(msgspec.Struct, tag="image_url", tag_field="type"):
    image_url: ImageUrl
    cache_control: Object | None = None


class FileSource(msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag="file", tag_field="type"):
    file: FileSource
    cache_control: Object | None = None


class AudioPart(msgspec.Struct, tag="input_audio", tag_field="type"):
    pass


class RefusalPart(msgspec.Struct, tag="refusal", tag_field="type"):
    refusal: str


Part = TextPart | ImagePart | FilePart | AudioPart | RefusalPart
Content = str | list[Part] | None


class FunctionCall(msgspec.Struct):
    name: str
    arguments: str = ""


class ToolCall(msgspec.Struct):
    id: str
    function: FunctionCall | None = None
    """None for a call of a custom tool."""


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class RedactedThinkingBlock(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    data: str


class SystemMessage(msgspec.Struct, tag="system", tag_field="role"):
    content: Content = None


class DeveloperMessage(msgspec.Struct, tag="developer", tag_field="role"):
    content: Content = None


class UserMessage(msgspec.Struct, tag="user", tag_field="role"):
    content: Content = None


class AssistantMessage(msgspec.Struct, tag="assistant", tag_field="role"):
    content: Content = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    thinking_blocks: list[ThinkingBlock | RedactedThinkingBlock] | None = None
    """As our reply had them: Anthropic wants them back unchanged while tools are being used."""


class ToolMessage(msgspec.Struct, tag="tool", tag_field="role"):
    tool_call_id: str
    content: Content = None


class FunctionMessage(msgspec.Struct, tag="function", tag_field="role"):
    """The form before tools."""

    name: str
    content: str | None = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage


class FunctionDefinition(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    type: str
    function: FunctionDefinition | None = None
    cache_control: Object | None = None


class FunctionName(msgspec.Struct):
    name: str


class ToolChoice(msgspec.Struct):
    type: str
    function: FunctionName | None = None


class JsonSchema(msgspec.Struct):
    schema: Object | None = None


class ResponseFormat(msgspec.Struct):
    type: str
    json_schema: JsonSchema | None = None


class ChatRequest(msgspec.Struct):
    model: str
    messages: list[Message]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    thinking: Object | None = None
    """Anthropic's own field, passed on."""
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Object | None = None
    modalities: list[str] | None = None
    audio: Object | None = None
    web_search_options: Object | None = None
    functions: list[FunctionDefinition] | None = None
    """The form before tools."""
    function_call: str | FunctionName | None = None


decoder = msgspec.json.Decoder(ChatRequest)
