"""The operator's client: talks to a running gateway through its own API, with the first key or a given one."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tollkeeper.commands.output import REFUSED, UNREACHABLE, fail

Url = Annotated[str | None, typer.Option("--url", envvar="TOLLKEEPER_URL", help="Origin of the gateway.")]
Key = Annotated[
    str | None, typer.Option("--key", envvar="TOLLKEEPER_API_KEY", help="A key with scope admin.", show_envvar=True)
]
DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TOLLKEEPER_DATA_DIR", help="Where first-run.json of a local gateway lies.")
]
DEFAULT_DATA_DIR = Path(".data")


class Client:
    """One gateway and one key. Every refusal ends the command with the gateway's own sentence and request id."""

    def __init__(self, url: str | None, key: str | None, data_dir: Path = DEFAULT_DATA_DIR) -> None:
        first_run = _read_first_run(data_dir)
        self.origin = (url or first_run.get("base_url") or "http://localhost:8000").rstrip("/").removesuffix("/v1")
        secret = key or first_run.get("api_key")
        if not secret:
            fail(
                f"no key: pass --key or set TOLLKEEPER_API_KEY, or name the gateway's folder with --data-dir "
                f"({data_dir / 'first-run.json'} is not there)."
            )
        self._headers = {"authorization": f"Bearer {secret}"}

    def request(self, method: str, path: str, body: Any = None, *, etag: str | None = None, **query: Any) -> Any:
        """The JSON answer of a control-plane call; None for an empty one."""
        import httpx

        headers = {**self._headers, **({"if-match": etag} if etag else {})}
        parameters = {name: value for name, value in query.items() if value is not None}
        try:
            with httpx.Client(timeout=60, trust_env=False) as client:
                answer = client.request(method, f"{self.origin}{path}", json=body, headers=headers, params=parameters)
        except httpx.HTTPError as error:
            fail(f"no gateway answers at {self.origin} ({error}). Start one: tollkeeper serve", code=UNREACHABLE)
        if answer.is_error:
            fail(_refusal(answer.status_code, answer.content, answer.headers), code=REFUSED)
        return answer.json() if answer.content else None

    def pages(self, path: str, *, most: int = 1000, **query: Any) -> Iterator[Mapping[str, Any]]:
        """The rows of a list, page by page, up to `most`."""
        cursor: str | None = None
        count = 0
        while True:
            page = self.request("GET", path, cursor=cursor, limit=min(100, most), **query)
            for row in page["data"]:
                yield row
                count += 1
                if count >= most:
                    return
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def stream(self, path: str, body: Any) -> Iterator[str]:
        """The data of each event of a streamed inference call."""
        import httpx

        try:
            with (
                httpx.Client(timeout=httpx.Timeout(600, connect=10), trust_env=False) as client,
                client.stream("POST", f"{self.origin}{path}", json=body, headers=self._headers) as answer,
            ):
                if answer.is_error:
                    fail(_refusal(answer.status_code, answer.read(), answer.headers), code=REFUSED)
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        yield line.removeprefix("data: ")
        except httpx.HTTPError as error:
            fail(f"no gateway answers at {self.origin} ({error}). Start one: tollkeeper serve", code=UNREACHABLE)


def _read_first_run(data_dir: Path) -> dict[str, str]:
    try:
        document = json.loads((data_dir / "first-run.json").read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(status: int, content: bytes, headers: Mapping[str, str]) -> str:
    """The sentence of a problem document or of an OpenAI-shaped error, with what support needs to find it."""
    try:
        document = json.loads(content)
    except ValueError:
        document = {}
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        sentence, code = error.get("message"), error.get("code")
    else:
        sentence, code = document.get("detail") or document.get("title"), document.get("code")
    problems = "".join(
        f"\n  {'.'.join(str(part) for part in item.get('loc', []))}: {item.get('message', '')}"
        for item in (document.get("errors") or [])
        if isinstance(item, dict)
    )
    request_id = headers.get("x-request-id", "none")
    return f"{sentence or os.strerror(0)} (status {status}, {code or 'no code'}, request {request_id}){problems}"
