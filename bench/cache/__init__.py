"""What the semantic cache serves, and how often wrongly: `./tollkeeper bench cache` and its parts."""
