"""Providers, models and prices: what may be called, where it leads and what it costs."""
