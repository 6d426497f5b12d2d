"""Batches of OpenAI's Batch API: a file of calls, made in their own time through the pipeline that every call passes."""
