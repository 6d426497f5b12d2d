"""A real Chromium, driven over its own pipe: no driver to install, and every request and complaint of it on record."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WAIT_SECONDS = 30.0
_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
]  # fmt: skip


def find_chromium() -> str | None:
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@dataclass
class Browser:
    """One browser process. `requests` is every address it asked for, `complaints` what its console says is wrong."""

    to_browser: int
    from_browser: int
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _buffer: bytes = b""
    _last: int = 0
    _session: str | None = None

    def open_window(self) -> None:
        """A window of its own cookies, in place of the one before."""
        self._session = None
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        answer = self._exchange(method, params)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _exchange(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self._last:
                return answer

    def go(self, address: str) -> None:
        # From an empty page: an address that differs in its fragment alone would load nothing.
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.protocol !== 'about:'")

    def ask(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until the condition holds, over whatever pages come meanwhile."""
        deadline = time.monotonic() + WAIT_SECONDS
        wanted = f"(() => {{ try {{ return !!({condition}); }} catch {{ return false; }} }})()"
        while not self._holds(wanted):
            assert time.monotonic() < deadline, f"{condition}; the page says: {self.ask('document.body.innerText')}"
            time.sleep(0.05)

    def sees(self, text: str) -> None:
        self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def submit(self, form: str, **fields: str) -> None:
        """Fill in the form and press its first button, as soon as it is shown."""
        self.wait(f"document.querySelector('#{form}').checkVisibility()")
        for name, value in fields.items():
            place = f"document.querySelector('#{form} [name={name}]')"
            self.wait(f"{place}.checkVisibility() && !{place}.disabled")
            self.ask(f"void ({place}.value = {json.dumps(value)})")
        self.ask(f"void document.querySelector('#{form} button').click()")

    def _holds(self, condition: str) -> bool:
        # A page that goes away while it is asked does not answer.
        found = self._exchange("Runtime.evaluate", {"expression": condition, "returnByValue": True})
        return found.get("result", {}).get("result", {}).get("value") is True

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self.from_browser], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self.from_browser, 1 << 20)
            assert data, "the browser is gone"
            self._buffer += data
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        # A refusal of the API is an entry of the network's; hints are verbose ones.
        elif (
            method == "Log.entryAdded"
            and params["entry"]["source"] != "network"
            and params["entry"]["level"] != "verbose"
        ):
            self.complaints.append(params["entry"]["text"])


@contextlib.contextmanager
def running_browser(chromium: str) -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(prefix="tollkeeper-browser-", ignore_cleanup_errors=True) as folder:
        theirs_in, ours_out = _pipe()
        ours_in, theirs_out = _pipe()
        environment = {**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder}
        log = os.open(Path(folder) / "log", os.O_CREAT | os.O_WRONLY, 0o600)
        # Its protocol wants just these two numbers.
        actions = [(os.POSIX_SPAWN_DUP2, theirs_in, 3), (os.POSIX_SPAWN_DUP2, theirs_out, 4)]
        actions += [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        command = [chromium, *_FLAGS, f"--user-data-dir={folder}/profile", "about:blank"]
        process = os.posix_spawn(chromium, command, environment, file_actions=actions, setpgroup=0)
        for number in (theirs_in, theirs_out, log):
            os.close(number)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(ours_out)
            os.close(ours_in)


def _pipe() -> tuple[int, int]:
    """Both ends away from the numbers that are given out in the child, and not inherited by themselves."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
