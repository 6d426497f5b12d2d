"""`tollkeeper chat`: one call from the terminal, streamed, to see that everything works."""

import json
import sys
from typing import Annotated

import typer

from tollkeeper.commands.client import DEFAULT_DATA_DIR, Client, DataDir, Key, Url
from tollkeeper.commands.output import Json, fail, note, print_json


def chat(
    prompt: Annotated[list[str], typer.Argument(help="What to ask.")],
    *,
    model: Annotated[str, typer.Option("--model", "-m", help="A model of `tollkeeper models list`.")] = "simulated",
    url: Url = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Json = False,
) -> None:
    """Ask a model through the gateway and print the answer as it comes."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": " ".join(prompt)}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    parts: list[str] = []
    usage = None
    for data in Client(url, key, data_dir).stream("/v1/chat/completions", body):
        if data == "[DONE]":
            break
        chunk = json.loads(data)
        if "error" in chunk:
            fail(chunk["error"]["message"])
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            text = choice["delta"].get("content") or ""
            parts.append(text)
            if not as_json:
                sys.stdout.write(
                    "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
                )
                sys.stdout.flush()
    if as_json:
        print_json({"model": model, "content": "".join(parts), "usage": usage})
        return
    sys.stdout.write("\n")
    if usage:
        note(f"{usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out")
