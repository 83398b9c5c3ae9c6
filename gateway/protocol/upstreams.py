"""Providers: /v1/upstreams (an extension) and [[upstreams]] of the settings."""

from typing import Literal

Kind = Literal["openai", "anthropic"]
"""The API that an upstream speaks; Anthropic's is translated (gateway/upstreams/anthropic/)."""
