"""Calls that are over, for whoever looks one up: what was asked for, what came of it, how long it took, what it cost."""
