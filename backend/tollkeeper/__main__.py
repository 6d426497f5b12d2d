"""`python -m tollkeeper` is the `tollkeeper` command."""

from tollkeeper.cli import main

if __name__ == "__main__":
    main()
