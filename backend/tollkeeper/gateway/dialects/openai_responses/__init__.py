"""OpenAI's Responses API: `caller` is the end that applications call, `vendor` the end of vendors that serve it."""

from tollkeeper.gateway.dialects.openai_responses.caller import ResponsesCaller, ResponsesTokenCount
from tollkeeper.gateway.dialects.openai_responses.caller_history import resumed, stored_response
from tollkeeper.gateway.dialects.openai_responses.read_call import ENCRYPTED, previous_not_found
from tollkeeper.gateway.dialects.openai_responses.vendor import OpenAIResponsesVendor
from tollkeeper.gateway.dialects.openai_responses.vendor_request import unexpressed_fields
from tollkeeper.gateway.dialects.openai_responses.write_response import shown, shown_item

__all__ = [
    "ENCRYPTED",
    "OpenAIResponsesVendor",
    "ResponsesCaller",
    "ResponsesTokenCount",
    "previous_not_found",
    "resumed",
    "shown",
    "shown_item",
    "stored_response",
    "unexpressed_fields",
]
