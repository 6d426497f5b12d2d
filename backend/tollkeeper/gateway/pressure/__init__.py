"""Who may run now, who waits, who is turned away: decided before anything is held for a call (RULING 11)."""
