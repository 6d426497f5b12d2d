"""Stored answers of the Responses API: kept for a time, sealed, each for the tenant and the project that asked."""
