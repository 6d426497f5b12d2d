"""The audit trail: what was changed, by whom, in a chain that shows every later edit."""
