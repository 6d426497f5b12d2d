"""The worker processes that serve now, on every machine that shares the database."""
