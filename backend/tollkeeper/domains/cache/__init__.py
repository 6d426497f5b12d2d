"""Cache policies as people write them, and the explorer of what the cache holds and saves."""
