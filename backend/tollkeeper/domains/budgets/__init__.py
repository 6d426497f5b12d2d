"""Budgets: for how much money, in which window, and what of it is spent."""
