"""Limits: how often something may be done, for whom. The rows of budgets are read here, too: a key knows both."""
