"""A free port on loopback, outside the range the kernel hands to outgoing connections.

A port inside that range can be taken, while a server restarts, by the very clients that try to reconnect to it.
"""

import secrets
import socket
from pathlib import Path

_LOWEST = 15_000


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None) -> int:
    """`preferred` while it is free, so that a restarted server keeps its address; else a random one.

    Another process may take it before the server does: starting must be tried again with another port.
    """
    if preferred is not None and is_free(preferred):
        return preferred
    first, end = _range()
    for _ in range(200):
        port = first + secrets.randbelow(end - first)
        if is_free(port):
            return port
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        return int(any_free.getsockname()[1])


def _range() -> tuple[int, int]:
    try:
        outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        outgoing = 32_768
    return (_LOWEST, outgoing) if outgoing > _LOWEST + 1_000 else (49_152, 65_536)
