"""OpenAI's pictures: `images/generations`, `images/edits` and `images/variations`, whole or in partial pictures.

Edits come as a form with files, or as JSON with addresses; variations as a form. Each picture of an answer is counted.
"""

import dataclasses
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson

from tollkeeper.contracts.chat import Amounts, Batch, Call, Chunk, Operation, Usage
from tollkeeper.core.errors import BadRequest, UnsupportedMediaType, UpstreamError
from tollkeeper.core.strict_json import DEFAULT_DEPTH, read_object
from tollkeeper.gateway.dialect import Writer
from tollkeeper.gateway.multipart import is_form, write_form
from tollkeeper.gateway.openai_documents import files_of, read_document, read_form_call, read_text, refuse_stream
from tollkeeper.gateway.openai_edge import OpenAIEdge
from tollkeeper.gateway.openai_events import NamedEventWriter, read_typed_events
from tollkeeper.gateway.openai_fields import check_count, missing, read_common, write_call, wrong_type
from tollkeeper.gateway.openai_usage import read_responses_usage
from tollkeeper.gateway.usage_counts import mapping

# "Create image edit", OpenAI's API reference, 2026-10.
_MOST_INPUTS: Final = 16
_MOST_PARTIAL: Final = 3
_TEXTS: Final = ("size", "quality", "background", "output_format", "response_format", "style", "input_fidelity", "user")
_EVENTS: Final[Mapping[Operation, str]] = {
    Operation.IMAGE_GENERATIONS: "image_generation",
    Operation.IMAGE_EDITS: "image_edit",
    Operation.IMAGE_VARIATIONS: "image_edit",
}
_WRITER: Final = NamedEventWriter()


class OpenAIImages(OpenAIEdge):
    """Of one of the three operations."""

    NAME: ClassVar[str] = "openai_images"

    def __init__(self, operation: Operation = Operation.IMAGE_GENERATIONS, max_json_depth: int = DEFAULT_DEPTH) -> None:
        self._operation = operation
        self._max_json_depth = max_json_depth

    def read_call(self, body: bytes, headers: Mapping[bytes, bytes], path: str) -> Call:  # noqa: ARG002 - the interface
        operation = self._operation
        if operation is not Operation.IMAGE_GENERATIONS and is_form(headers):
            call, form = read_form_call(body, headers, operation)
            most = _MOST_INPUTS if operation is Operation.IMAGE_EDITS else 1
            files_of(form, "image", most=most)
            if form.files("mask"):
                files_of(form, "mask")
        elif operation is Operation.IMAGE_VARIATIONS:
            raise UnsupportedMediaType("Send the image in a form: 'content-type: multipart/form-data'.")
        else:
            call = read_common(read_object(body, self._max_json_depth), operation)
            call.raw = body
            if operation is Operation.IMAGE_EDITS:
                _check_images(call.body)
        if operation is Operation.IMAGE_VARIATIONS:
            refuse_stream(call, "Variations")
        else:
            read_text(call.body, "prompt", is_required=True)
        for name in _TEXTS:
            read_text(call.body, name)
        check_count("partial_images", call.body.get("partial_images"), least=0, most=_MOST_PARTIAL)
        call.asked = Amounts(images=call.body.get("n") or 1)
        call.unbounded = _unbounded(call.body)
        return call

    def write_call(self, call: Call) -> bytes:
        return write_call(call) if call.form is None else write_form(call)

    def read_whole(self, body: bytes, call: Call) -> Chunk:  # noqa: ARG002 - the interface
        data = read_document(body)
        rows = data.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UpstreamError("The provider's answer holds no images.", code="upstream_garbage")
        raw: bytes | None = body
        if type(data.get("created")) is not int:
            data, raw = {**data, "created": int(time.time())}, None
        usage = read_image_usage(data)
        return Chunk(data, raw, is_content=True, is_final=True, usage=usage, amounts=Amounts(images=len(rows)))

    def read_stream(self, reads: AsyncIterator[bytes], call: Call) -> AsyncIterator[Batch]:
        return read_typed_events(reads, _Pictures(), lambda body: self._as_events(body, call))

    def _as_events(self, body: bytes, call: Call) -> Sequence[Chunk]:
        whole = self.read_whole(body, call)
        rows = whole.data["data"]
        if not rows:
            raise UpstreamError("The provider's answer holds no images.", code="upstream_garbage")
        kind = _EVENTS[call.operation] + ".completed"
        shared = {name: value for name, value in whole.data.items() if name not in {"data", "created", "usage"}}
        chunks = [
            Chunk({"type": kind, "created_at": whole.data["created"], **shared, **row}, is_content=True) for row in rows
        ]
        last = chunks[-1]
        if "usage" in whole.data:
            last.data["usage"] = whole.data["usage"]
        last.usage, last.amounts = whole.usage, whole.amounts
        return chunks

    def write_whole(self, chunk: Chunk, call: Call) -> bytes:  # noqa: ARG002 - the interface
        return chunk.raw if chunk.raw is not None else orjson.dumps(chunk.data)

    def writer(self, call: Call) -> Writer:  # noqa: ARG002 - the interface
        return _WRITER


class _Pictures:
    """What the events of one stream add up to."""

    def __init__(self) -> None:
        self._images = 0
        self._usage: Usage | None = None

    def __call__(self, data: dict[str, Any], raw: bytes | None) -> tuple[Chunk, bool]:
        kind = data.get("type")
        if not isinstance(kind, str) or not kind.endswith(".completed"):
            return Chunk(data, raw, is_content=True), False
        self._images += 1
        usage = read_image_usage(data)
        if usage is not None:
            self._usage = usage if self._usage is None else _sum(self._usage, usage)
        chunk = Chunk(data, raw, is_content=True, usage=self._usage, amounts=Amounts(images=self._images))
        return chunk, True


def read_image_usage(data: Mapping[str, Any]) -> Usage | None:
    """What is not said to be text is a picture. Drawings are made by another model besides, at a price of its own."""
    told = data.get("usage")
    usage = read_responses_usage(told)
    if usage is None:
        return None
    if not mapping(mapping(told).get("output_tokens_details")):
        usage = dataclasses.replace(usage, output=0, output_image=usage.output + usage.output_image)
    drawn = read_responses_usage(data.get("svg_usage"))
    if drawn is not None:
        usage = dataclasses.replace(_sum(usage, drawn), is_estimated=True)
    return usage


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input=one.input + other.input,
        cache_read=one.cache_read + other.cache_read,
        input_image=one.input_image + other.input_image,
        output=one.output + other.output,
        reasoning=one.reasoning + other.reasoning,
        output_image=one.output_image + other.output_image,
        is_estimated=one.is_estimated or other.is_estimated,
    )


def _check_images(body: Mapping[str, Any]) -> None:
    images = body.get("images", body.get("image"))
    if images is None:
        raise missing("images")
    if not isinstance(images, str | list):
        raise wrong_type("images", "an array of images", images)
    if not images or (len(images) > _MOST_INPUTS and isinstance(images, list)):
        raise BadRequest(
            f"Invalid 'images': expected 1 to {_MOST_INPUTS} images.", param="images", code="invalid_value"
        )
    for position, image in enumerate(images if isinstance(images, list) else ()):
        if not isinstance(image, str | dict):
            raise wrong_type(f"images[{position}]", "an object", image)


def _unbounded(body: Mapping[str, Any]) -> str | None:
    """Pictures of which nobody publishes what they take."""
    if body.get("svg") or body.get("markup") or body.get("output_format") == "svg":
        return "a drawing, which another model of the vendor makes besides,"
    if body.get("frame_count") not in (None, 1, "1"):
        return "an animation"
    return None
