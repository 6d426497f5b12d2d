"""Tollkeeper: an OpenAI-compatible gateway between applications and model providers."""
