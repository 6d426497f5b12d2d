"""What was used and what it cost: the ledger, its rollups by hour, and the questions asked of them."""
