"""Run by the locked Python beside this file, never by the gateway's: instructor and LlamaIndex before a running gateway.

Prints one line of JSON: what each check brought, or what it ended in.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Literal

import instructor
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI as LlamaOpenAI
from openai import OpenAI
from pydantic import BaseModel, Field

BASE_URL, KEY = os.environ["TOLLKEEPER_BASE_URL"], os.environ["TOLLKEEPER_KEY"]
QUESTION = "How warm is it in Bern?"


class City(BaseModel):
    """A city and its people."""

    name: str
    people: int = Field(ge=1, le=9_999)
    kind: Literal["village", "town"]


def weather(city: str) -> str:
    """How the weather is in a city."""
    return f"18 degrees in {city}"


def llama(model: str) -> LlamaOpenAI:
    # A name it knows decides what it takes the model to be able to do; the gateway is told the real one.
    return LlamaOpenAI(
        model="gpt-4o-mini",
        api_key=KEY,
        api_base=BASE_URL,
        max_retries=0,
        timeout=30,
        additional_kwargs={"model": model},
    )


def llama_chat(model: str) -> None:
    answer = llama(model).chat([ChatMessage(role="system", content="Be brief."), ChatMessage(content=QUESTION)])
    assert answer.message.content


def llama_stream(model: str) -> None:
    pieces = list(llama(model).stream_chat([ChatMessage(content=QUESTION)]))
    assert len(pieces) > 2
    assert pieces[-1].message.content == "".join(piece.delta or "" for piece in pieces)


def llama_tools(model: str) -> None:
    client = llama(model)
    answer = client.chat_with_tools([FunctionTool.from_defaults(weather)], user_msg=QUESTION)
    [call] = client.get_tool_calls_from_response(answer)
    assert (call.tool_name, list(call.tool_kwargs)) == ("weather", ["city"])


def llama_structured(model: str) -> None:
    found = llama(model).as_structured_llm(City).chat([ChatMessage(content=QUESTION)])
    assert isinstance(found.raw, City)


def instructed(mode: Any) -> Callable[[str], None]:
    def check(model: str) -> None:
        client = instructor.from_openai(OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=30), mode=mode)
        messages: Any = [{"role": "user", "content": QUESTION}]
        found = client.chat.completions.create(model=model, response_model=City, messages=messages, max_retries=0)
        assert isinstance(found, City)

    return check


def instructed_stream(model: str) -> None:
    client = instructor.from_openai(OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=30))
    messages: Any = [{"role": "user", "content": QUESTION}]
    *_, last = client.chat.completions.create_partial(
        model=model, response_model=City, messages=messages, max_retries=0
    )
    assert City.model_validate(last.model_dump())


CHECKS: dict[str, Callable[[str], None]] = {
    "LlamaIndex, chat": llama_chat,
    "LlamaIndex, stream": llama_stream,
    "LlamaIndex, tools": llama_tools,
    "LlamaIndex, structured output": llama_structured,
    "instructor, tools": instructed(instructor.Mode.TOOLS),
    "instructor, JSON schema": instructed(instructor.Mode.JSON_SCHEMA),
    "instructor, stream": instructed_stream,
}


def main() -> None:
    results: dict[str, str] = {}
    for model in sys.argv[1:]:
        for name, check in CHECKS.items():
            try:
                check(model)
                results[f"{name}, {model}"] = "ok"
            except Exception:  # each is told of, whatever it is
                results[f"{name}, {model}"] = traceback.format_exc()[-2_000:]
    sys.stdout.write(json.dumps(results) + "\n")


main()
