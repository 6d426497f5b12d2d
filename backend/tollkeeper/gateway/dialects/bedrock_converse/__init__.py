"""Bedrock's Converse and ConverseStream, spoken to the vendor."""

from tollkeeper.gateway.dialects.bedrock_converse.event_stream import FrameReader
from tollkeeper.gateway.dialects.bedrock_converse.failures import read_failure
from tollkeeper.gateway.dialects.bedrock_converse.prepare import prepare_chat
from tollkeeper.gateway.dialects.bedrock_converse.stream import exception_of
from tollkeeper.gateway.dialects.bedrock_converse.vendor import ConverseVendor

__all__ = ["ConverseVendor", "FrameReader", "exception_of", "prepare_chat", "read_failure"]
