"""Guardrail policies as people write them, and the box to try a text in."""
