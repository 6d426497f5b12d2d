"""Google's Gemini API: `generateContent` and its kin, at both ends."""

from tollkeeper.gateway.dialects.gemini.caller import GeminiArray, GeminiCaller, GeminiStream, GeminiTokenCount
from tollkeeper.gateway.dialects.gemini.caller_embeddings import GeminiEmbed, GeminiEmbedBatch
from tollkeeper.gateway.dialects.gemini.vendor import GeminiVendor
from tollkeeper.gateway.dialects.gemini.vendor_count import read_count, write_count
from tollkeeper.gateway.dialects.gemini.vendor_embeddings import GeminiEmbeddingsVendor
from tollkeeper.gateway.dialects.gemini.vendor_failures import read_failure
from tollkeeper.gateway.dialects.gemini.vendor_prepare import method_of, model_path, prepare

__all__ = [
    "GeminiArray",
    "GeminiCaller",
    "GeminiEmbed",
    "GeminiEmbedBatch",
    "GeminiEmbeddingsVendor",
    "GeminiStream",
    "GeminiTokenCount",
    "GeminiVendor",
    "method_of",
    "model_path",
    "prepare",
    "read_count",
    "read_failure",
    "write_count",
]
