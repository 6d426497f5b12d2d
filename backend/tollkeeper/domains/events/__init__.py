"""Telling open consoles that there is something new: one short-lived stream each, never the thing itself."""
