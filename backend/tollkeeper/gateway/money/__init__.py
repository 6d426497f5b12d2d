"""What a call costs and whether it may be made: price, estimate, admission, and the journal that never loses a line."""
