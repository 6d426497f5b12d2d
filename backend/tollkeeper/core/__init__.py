"""The kernel everyone may import: it imports nothing of ours."""
