"""The operator's client: talks to a running gateway through its own API, with the first key or a given one."""

import json
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from tollkeeper.commands.output import REFUSED, UNREACHABLE, fail

Url = Annotated[str | None, typer.Option("--url", envvar="TOLLKEEPER_URL", help="Origin of the gateway.")]
Key = Annotated[
    str | None, typer.Option("--key", envvar="TOLLKEEPER_API_KEY", help="A key with scope admin.", show_envvar=True)
]
DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="TOLLKEEPER_DATA_DIR", help="The folder of a gateway on this machine.")
]
Tenant = Annotated[
    str | None, typer.Option("--tenant", help="Another tenant, by its id or slug; for platform administrators.")
]
DEFAULT_DATA_DIR = Path(".data")
_MOST_TENANTS = 100_000
_DEFAULT_ORIGIN = "http://localhost:8000"


class Client:
    """One gateway and one key. Every refusal ends the command with the gateway's own sentence and request id."""

    def __init__(self, url: str | None, key: str | None, data_dir: Path = DEFAULT_DATA_DIR) -> None:
        first_run = _read_object(data_dir / "first-run.json")
        found = url or running_origin(data_dir) or str(first_run.get("base_url") or _DEFAULT_ORIGIN)
        self.origin = found.rstrip("/").removesuffix("/v1")
        secret = key
        if not secret and self._is_at_home(data_dir, first_run):
            secret = first_run.get("api_key")
        if not secret:
            fail(
                "no key: pass --key or set TOLLKEEPER_API_KEY, or name the gateway's folder with --data-dir "
                f"(the key in {data_dir / 'first-run.json'} is sent to no other gateway than that folder's own)."
            )
        if not (secret.isascii() and secret.isprintable()):
            fail("the key holds characters that no key has. Was it copied whole?", code=2)
        self._headers = {"authorization": f"Bearer {secret}"}

    def _is_at_home(self, data_dir: Path, first_run: Mapping[str, Any]) -> bool:
        """The kept key goes to the gateway of its own folder alone, never to a host that --url names."""
        kept = str(first_run.get("base_url") or "").rstrip("/").removesuffix("/v1")
        return self.origin in {kept, running_origin(data_dir)}

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        etag: str | None = None,
        row_names: Sequence[str] = (),
        **query: Any,
    ) -> Any:
        """The JSON answer of a control-plane call; None for an empty one.

        `row_names`: what the rows of the body are called where they came from, for a refusal that names some of them.
        """
        import httpx

        headers = {**self._headers, **({"if-match": etag} if etag else {})}
        parameters = {name: value for name, value in query.items() if value is not None}
        try:
            with self._client(60) as client:
                answer = client.request(method, f"{self.origin}{path}", json=body, headers=headers, params=parameters)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._unreachable(error)
        if answer.is_error:
            fail(_refusal(answer.status_code, answer.content, answer.headers, row_names), code=REFUSED)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            self._stranger()

    def pages(self, path: str, *, most: int = 1000, **query: Any) -> Iterator[Mapping[str, Any]]:
        """The rows of a list, page by page, up to `most`."""
        cursor: str | None = None
        count = 0
        while True:
            page = self.request("GET", path, cursor=cursor, limit=min(100, most), **query)
            if not isinstance(page, dict) or "data" not in page:
                self._stranger()
            for row in page["data"]:
                yield row
                count += 1
                if count >= most:
                    return
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def tenant_id(self, named: str | None) -> str | None:
        """The id of the tenant that `--tenant` names by its id or slug; None leaves it to the key."""
        if named is None or named.startswith("ten_"):
            return named
        tenants = self.pages("/api/v1/tenants", most=_MOST_TENANTS)
        found = next((str(tenant["id"]) for tenant in tenants if tenant["slug"] == named), None)
        if found is None:
            fail(f"no tenant that this key sees has the slug {named}. See them: tollkeeper tenants list")
        return found

    def stream(self, path: str, body: Any) -> Iterator[str]:
        """The data of each event of a streamed inference call."""
        import httpx

        try:
            with (
                self._client(600) as client,
                client.stream("POST", f"{self.origin}{path}", json=body, headers=self._headers) as answer,
            ):
                if answer.is_error:
                    fail(_refusal(answer.status_code, answer.read(), answer.headers), code=REFUSED)
                if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                    self._stranger()
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        yield line.removeprefix("data: ")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            self._unreachable(error)
        except httpx.HTTPError as error:
            fail(f"the answer of {self.origin} broke off ({str(error) or type(error).__name__}).", code=UNREACHABLE)

    def upload(self, path: str, file: Path, **fields: str) -> Any:
        """The JSON answer to a form with one file, which is read as it is sent."""
        import httpx

        try:
            with file.open("rb") as content, self._client(600) as client:
                answer = client.post(
                    f"{self.origin}{path}", data=fields, files={"file": (file.name, content)}, headers=self._headers
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._unreachable(error)
        if answer.is_error:
            fail(_refusal(answer.status_code, answer.content, answer.headers), code=REFUSED)
        try:
            return answer.json()
        except ValueError:
            self._stranger()

    def download(self, path: str, **query: Any) -> Iterator[bytes]:
        """The bytes of a long answer as they come. One that breaks off ends the command as a failure."""
        import httpx

        parameters = {name: value for name, value in query.items() if value is not None}
        try:
            with (
                self._client(600) as client,
                client.stream("GET", f"{self.origin}{path}", params=parameters, headers=self._headers) as answer,
            ):
                if answer.is_error:
                    fail(_refusal(answer.status_code, answer.read(), answer.headers), code=REFUSED)
                yield from answer.iter_bytes()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            self._unreachable(error)
        except httpx.HTTPError as error:
            fail(f"the answer of {self.origin} broke off ({str(error) or type(error).__name__}).", code=UNREACHABLE)

    def _client(self, seconds: float) -> Any:
        import httpx

        # The system's certificates, so that a company's own authority is trusted; no proxy, no .netrc.
        verify = ssl.create_default_context() if self.origin.startswith("https:") else False
        return httpx.Client(timeout=httpx.Timeout(seconds, connect=10), trust_env=False, verify=verify)

    def _unreachable(self, error: Exception) -> NoReturn:
        reason = str(error) or type(error).__name__
        fail(f"no gateway answers at {self.origin} ({reason}). Start one: tollkeeper serve", code=UNREACHABLE)

    def _stranger(self) -> NoReturn:
        fail(f"what answers at {self.origin} is no Tollkeeper gateway. Name yours with --url.", code=UNREACHABLE)


def running_origin(data_dir: Path) -> str | None:
    """Where the gateway of this folder listens, if one is running: its port may have been left to the system."""
    note = _read_object(data_dir / "serve.json")
    try:
        os.kill(int(note["pid"]), 0)
    except PermissionError:
        pass  # Another account's process is a process.
    except (KeyError, TypeError, ValueError, OSError):
        return None
    origin = note.get("origin")
    return origin if isinstance(origin, str) else None


def _read_object(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(status: int, content: bytes, headers: Mapping[str, str], row_names: Sequence[str] = ()) -> str:
    """The sentence of a problem document or of an OpenAI-shaped error, with what support needs to find it."""
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {}
    error = document.get("error")
    if isinstance(error, dict):
        sentence, code = error.get("message"), error.get("code")
    else:
        sentence, code = document.get("detail") or document.get("title"), document.get("code")
    sentence = str(sentence or "the gateway refused without saying why.")
    problems = [item for item in document.get("errors") or [] if isinstance(item, dict)]
    # One problem stands in the sentence already.
    listed = "".join(
        f"\n  {'.'.join(str(part) for part in item.get('loc', []))}: {item.get('message', '')}"
        for item in (problems if len(problems) > 1 else [])
    )
    # A rejected configuration lists its mistakes as finished sentences, each with file and line.
    listed += "".join(f"\n  {item}" for item in document.get("problems") or [] if isinstance(item, str))
    for item in document.get("rows") or []:
        number = item.get("row") if isinstance(item, dict) else None
        if isinstance(number, int) and number < len(row_names):
            listed += f"\n  {row_names[number]}: {item.get('message', '')}"
    request_id = headers.get("x-request-id", "none")
    return f"{sentence} (status {status}, {code or 'no code'}, request {request_id}){listed}"
