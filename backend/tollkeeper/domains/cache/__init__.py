"""Cache policies as people write them."""
