"""`docs/providers.md`, found out from the registry: every provider is given each kind of call, and what it makes of it is
written down. Nothing is declared twice, so the page cannot say anything else than the code does.
"""

from tollkeeper.provider_page.page import write_page

__all__ = ["write_page"]
