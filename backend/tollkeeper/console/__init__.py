"""Where the console's build lands (`dist/`, made from `frontend/` by the set-up step and not kept in git)."""
