"""Real PostgreSQL and Valkey servers without an installation, for a first start, for tests and for the benchmark.

Our own launcher over the programs of two packages; it runs before any event loop and uses the standard library only.
`server.py` has the life of a server; `postgres.py` and `valkey.py` what is particular to each; `home.py` where it lives
and as whom it runs. Nothing here is used when `TOLLKEEPER_DATABASE_URL` and `TOLLKEEPER_REDIS_URL` are set.
"""

from tollkeeper.core.embedded.error import EmbeddedError
from tollkeeper.core.embedded.home import make_data_dir
from tollkeeper.core.embedded.postgres import EmbeddedPostgres
from tollkeeper.core.embedded.server import EmbeddedServer, Endpoint, start_together
from tollkeeper.core.embedded.valkey import EmbeddedValkey

__all__ = [
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedServer",
    "EmbeddedValkey",
    "Endpoint",
    "make_data_dir",
    "start_together",
]
