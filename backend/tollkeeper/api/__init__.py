"""The tables of contents: what is served under /api/v1, health, and the inference paths of the OpenAPI document."""
