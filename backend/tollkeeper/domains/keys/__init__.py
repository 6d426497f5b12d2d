"""API keys: made, limited, rotated, revoked, and found for the data plane."""
