"""The embedded Valkey (or another server of the Redis protocol): loopback, password, nothing kept on disk.

Nothing is persisted on purpose: counters are rebuilt from the ledger, and an old copy of them would be believed.
"""

import secrets
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from tollkeeper.core.embedded.binaries import VALKEY, Package
from tollkeeper.core.embedded.error import EmbeddedError
from tollkeeper.core.embedded.home import ELSEWHERE
from tollkeeper.core.embedded.server import Address, EmbeddedServer, Running, Site, write_private


class EmbeddedValkey(EmbeddedServer):
    NAME: ClassVar[str] = "valkey"
    TITLE: ClassVar[str] = "Valkey"
    # It has nothing to save, and a long script must not let it outlive us.
    DEATH_SIGNAL: ClassVar[signal.Signals] = signal.SIGKILL
    STOP_SIGNALS: ClassVar[Sequence[tuple[signal.Signals, float]]] = ((signal.SIGTERM, 5), (signal.SIGKILL, 5))
    LEFTOVER_SECONDS: ClassVar[float] = 2

    def __init__(
        self,
        data_dir: Path,
        *,
        say: Callable[[str], None] = lambda _line: None,
        package: Package = VALKEY,
        elsewhere: Path = ELSEWHERE,
    ) -> None:
        super().__init__(data_dir, package=package, say=say, elsewhere=elsewhere)

    def _program(self) -> str:
        return PurePosixPath(self._package.programs[0]).name

    def _url(self, port: int) -> str:
        return f"redis://:{self._password()}@127.0.0.1:{port}/0"

    def _prepare(self, site: Site, server_lock: int) -> None:  # noqa: ARG002 -- nothing is spawned
        if not self._password_path().exists():
            write_private(self._password_path(), secrets.token_hex(24))
        # Somebody may have asked the last one to save; it would be loaded.
        (site.home.storage / "dump.rdb").unlink(missing_ok=True)

    def _command(self, site: Site, port: int) -> tuple[list[str], bytes]:
        config = (
            f"bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {self._password()}\ndaemonize no\n"
            'save ""\nappendonly no\nmaxmemory-policy noeviction\nlogfile ""\nloglevel warning\n'
        )
        # Read from standard input: arguments are for everybody to read.
        return [str(site.binaries.program(self._program())), "-"], config.encode()

    def _is_up(self, running: Running) -> bool:
        return self._proves_itself(running.address)

    def _proves_itself(self, address: Address) -> bool:
        """It knows the password, asks for it, and is the process that was started."""
        if not self._password_path().exists():
            return False
        refused = _ask(address.port, "PING\r\n")
        if not refused.startswith(b"-NOAUTH"):
            return False
        answer = _ask(address.port, f"AUTH {self._password()}\r\nINFO server\r\n")
        return answer.startswith(b"+OK") and b"\r\nprocess_id:%d\r\n" % address.pid in answer

    def _password_path(self) -> Path:
        return self._control / "password"

    def _password(self) -> str:
        try:
            return self._password_path().read_text().strip()
        except OSError as error:
            raise EmbeddedError(f"The password file {self._password_path()} cannot be read: {error}") from error


def _ask(port: int, commands: str) -> bytes:
    """Everything the server says to `commands`; nothing when there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(f"{commands}QUIT\r\n".encode())
            answer = b""
            while part := connection.recv(65_536):
                answer += part
            return answer
    except OSError:
        return b""
