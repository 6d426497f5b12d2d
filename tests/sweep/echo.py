"""A provider that gives everything away: it repeats the request's headers and body in its answers, errors and headers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class _Echo(BaseHTTPRequestHandler):
    """The model's name says what comes: `echo-400` refuses so, `echo-stream` breaks off with an error event."""

    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        model = str(json.loads(body)["model"])
        said = f"Received {dict(self.headers)} with {body.decode(errors='replace')}"
        self.seen.append(said)
        error = {"error": {"message": said, "type": "invalid_request_error", "code": None, "param": said}}
        if model == "echo-stream":
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model}
            chunk["choices"] = [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]
            events = f"data: {json.dumps(chunk)}\n\ndata: {json.dumps(error)}\n\n".encode()
            self._answer(200, events, "text/event-stream", said)
        else:
            self._answer(int(model.removeprefix("echo-")), json.dumps(error).encode(), "application/json", said)

    def do_GET(self) -> None:
        said = f"Received {dict(self.headers)}"
        self._answer(401, json.dumps({"error": {"message": said}}).encode(), "application/json", said)

    def _answer(self, status: int, body: bytes, kind: str, said: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", said.replace("\n", " ")[:4000])
        self.send_header("set-cookie", "a=b")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_said: Any) -> None:  # type: ignore[override]
        pass


@contextmanager
def running_echo() -> Iterator[tuple[int, list[str]]]:
    """Its port, and what it was sent."""
    _Echo.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], _Echo.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
