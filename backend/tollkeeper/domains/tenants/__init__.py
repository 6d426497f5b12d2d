"""Tenants: who is served, and within which limits."""
