"""Where a call goes: pure decisions, so that the console can explain one with the same call."""
