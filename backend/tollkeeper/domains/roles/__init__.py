"""Roles: the built-in ones, and those a tenant puts together itself from permissions."""
