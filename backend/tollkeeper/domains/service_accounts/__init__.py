"""Service accounts: members that are no person and own the keys of programs."""
