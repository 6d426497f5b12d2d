"""Anthropic Messages: what callers send and vendors answer."""

from tollkeeper.gateway.dialects.anthropic_messages.caller import AnthropicCaller, AnthropicTokenCount
from tollkeeper.gateway.dialects.anthropic_messages.vendor import AnthropicVendor
from tollkeeper.gateway.dialects.anthropic_messages.vendor_count import read_count, write_count
from tollkeeper.gateway.dialects.anthropic_messages.vendor_failures import read_failure
from tollkeeper.gateway.dialects.anthropic_messages.vendor_models import shows_output
from tollkeeper.gateway.dialects.anthropic_messages.vendor_prepare import prepare_chat

__all__ = [
    "AnthropicCaller",
    "AnthropicTokenCount",
    "AnthropicVendor",
    "prepare_chat",
    "read_count",
    "read_failure",
    "shows_output",
    "write_count",
]
