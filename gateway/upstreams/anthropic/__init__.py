"""OpenAI's chat completions <-> Anthropic's Messages API (POST /v1/messages), as pure functions.

    chat.py      OpenAI's request, as far as it is translated      wire.py     Anthropic's reply and events
    request.py   the request's parameters                          reply.py    a whole reply
    turns.py     its messages: system prompt and turns             stream.py   an event stream
    blocks.py    parts of a message                                errors.py   error bodies
    tools.py     tools and how they are chosen
    schemas.py   JSON Schemas as structured outputs take them

Sources: Anthropic's API reference (platform.claude.com/docs/en/api/messages), its migration guide to API version
2026-10-21 and its notes on OpenAI compatibility; field by field the types of the `anthropic` package, version 2.11,
against which the tests check what is sent and from which they build what comes back.
"""
