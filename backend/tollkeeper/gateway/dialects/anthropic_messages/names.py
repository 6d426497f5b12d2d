"""What both ends of the dialect call it, and what its paths have in common."""

from typing import Final

NAME: Final = "anthropic_messages"
