"""The commands of `tollkeeper`, a file per noun; `cli.py` is their table of contents.

A command imports what is heavy when it runs, so that `--help` stays fast: here and in `cli.py` alone may an import stand
inside a function.
"""
