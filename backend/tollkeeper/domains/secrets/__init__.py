"""Stored secrets under the master key: which key wraps what, and moving everything to a new one."""
