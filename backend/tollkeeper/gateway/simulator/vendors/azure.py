"""Azure OpenAI: OpenAI's format behind deployments, with the marks of its content filter ("Content streaming" page)."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from tollkeeper.gateway.simulator.directed import Refused, Wire
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.engine import OpenAIWire, Operation
from tollkeeper.gateway.simulator.frames import JSON
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Part, Script
from tollkeeper.gateway.simulator.vendors.question import Json

_SAFE: Final = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PROMPT: Final = [{"prompt_index": 0, "content_filter_results": _SAFE}]
_FIRST: Final = b"data: %b\n\n" % orjson.dumps(
    {"choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": _PROMPT}
)
# Of the asynchronous filter: a choice without a delta, behind the last of the text.
_LATE: Final = b"data: %b\n\n" % orjson.dumps(
    {
        "id": "", "object": "", "created": 0, "model": "",
        "choices": [
            {
                "index": 0, "finish_reason": None, "content_filter_results": _SAFE,
                "content_filter_offsets": {"check_offset": 0, "start_offset": 0, "end_offset": 40},
            }
        ],
    }
)  # fmt: skip
# What Azure calls a refusal by its code; other codes are the status as text.
_KEPT: Final = frozenset({"context_length_exceeded", "content_filter", "insufficient_quota", "DeploymentNotFound"})


class AzureWire(Wire):
    """`deployment`: the model by the path, whatever the body says; None for the v1 API, where the body names it."""

    def __init__(self, operation: Operation, deployment: str | None) -> None:
        self._operation = operation
        self._deployment = deployment
        self._inner = OpenAIWire(operation)

    def model(self, request: Mapping[str, Any]) -> str:
        return self._inner.model(request) if self._deployment is None else self._deployment

    def digest(self, request: Mapping[str, Any]) -> bytes:
        return self._inner.digest(request)

    def answer(self, request: dict[str, Any], model: str, family: Family, wish: Directives, digest: bytes) -> Script:
        script = self._inner.answer(request, model, family, wish, digest)
        if self._operation is not Operation.CHAT or wish.is_garbage:
            return script
        if script.is_stream:
            return dataclasses.replace(script, parts=_filtered(script.parts))
        if wish.cut_after is not None or wish.hang_after is not None:
            return script
        [part] = script.parts
        content = orjson.dumps(_marked(orjson.loads(part.data)))
        return dataclasses.replace(
            script, parts=(dataclasses.replace(part, data=content),), content_length=len(content)
        )

    def refused(self, refusal: Refusal) -> Refused:
        code = refusal.code if refusal.code in _KEPT else str(refusal.status)
        error: Json = {"code": code, "message": refusal.message}
        if code == "content_filter":
            error["innererror"] = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _SAFE}
        elif refusal.param is not None:
            error |= {"param": refusal.param, "type": refusal.type}
        return Refused(refusal.status, {"content-type": JSON, **refusal.headers}, orjson.dumps({"error": error}))


def _filtered(parts: Iterable[Part]) -> Iterator[Part]:
    yield Part(_FIRST)
    for part in parts:
        if part.data == b"data: [DONE]\n\n":
            yield Part(_LATE)
        yield part


def _marked(document: Json) -> Json:
    choices = [{**choice, "content_filter_results": _SAFE} for choice in document["choices"]]
    return {**document, "choices": choices, "prompt_filter_results": _PROMPT}
