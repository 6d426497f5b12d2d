"""Where calls go at the moment: how targets are, and forgetting what is held against them."""
