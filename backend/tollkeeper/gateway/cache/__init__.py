"""Answers that are given again: to the letter (`shelf`, `entry`), at the same time (`single_flight`), by meaning
(`question`). `stages/recall.py` is where calls meet them.
"""
