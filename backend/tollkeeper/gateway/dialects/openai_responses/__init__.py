"""OpenAI's Responses API: `caller` is the end that applications call, `vendor` the end of vendors that serve it."""

from tollkeeper.gateway.dialects.openai_responses.vendor import OpenAIResponsesVendor
from tollkeeper.gateway.dialects.openai_responses.vendor_request import unexpressed_fields

__all__ = ["OpenAIResponsesVendor", "unexpressed_fields"]
