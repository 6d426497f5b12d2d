"""Measures Tollkeeper against the floor: the least work any Python gateway must do. See `bench/README.md`."""
