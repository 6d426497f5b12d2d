"""Invitations: how people join a tenant by a link that works once."""
