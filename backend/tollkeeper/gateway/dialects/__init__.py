"""The wire formats, one file each; strangers to one another. `gateway/dialect.py` says what one is."""
