"""`tollkeeper simulate`: the simulated provider as a server of its own, for tests, benchmarks and trying things out."""

import socket
import sys
from collections.abc import Callable

import uvicorn

from tollkeeper.gateway.simulator.server import SimulatorServer


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def serve(host: str, port: int, *, api_key: str | None = None, say: Callable[[str], None] = _say) -> None:
    """Serve until SIGINT or SIGTERM; port 0 takes a free one. Raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        shown = f"[{host}]" if family is socket.AF_INET6 else host
        say(f"Simulated provider on http://{shown}:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(
            SimulatorServer(api_key),
            # Cut answers are meant; uvicorn would report each as an application that forgot to finish.
            log_level="critical",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            # Answers that hang for ever must not keep the server from stopping.
            timeout_graceful_shutdown=1,
        )
        uvicorn.Server(config).run(sockets=[listener])
