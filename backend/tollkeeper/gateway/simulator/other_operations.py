"""The simulator's moderations, pictures, speech, transcripts and rankings, in OpenAI's wire format (rankings in Cohere's).

Forms are read with a library, not with the gateway's own reader, so that the two are held against each other. A form's
texts and the sizes of its files become a document, and from there everything is as for a call in JSON.
"""

import base64
import hashlib
import io
import math
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tollkeeper.gateway.simulator import media
from tollkeeper.gateway.simulator.chat_request import missing, read_count
from tollkeeper.gateway.simulator.counting import count
from tollkeeper.gateway.simulator.directed import Refused, Wire
from tollkeeper.gateway.simulator.directives import Directives, Family
from tollkeeper.gateway.simulator.frames import JSON, Event, Frames, stream, whole
from tollkeeper.gateway.simulator.refusal import Refusal, chosen, invalid
from tollkeeper.gateway.simulator.script import Script

_SSE: Final = "text/event-stream; charset=utf-8"
_EVENTS: Final = Frames(
    _SSE,
    half=b'data: {"type":"',
    garbage=b"data: {not json}\n\n",
    error=b"data: %b\n\n" % chosen(500, None, None).body(),
)
_CREATED: Final = 1_700_000_000
_IMAGE_TOKENS: Final = 272
_PIECE: Final = 4_096
_SECONDS_A_CHARACTER: Final = 0.06
_MOST_SECONDS: Final = 30.0
_CATEGORIES: Final = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
_SOUNDS: Final[Mapping[str, str]] = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm"}


class OtherOperation(StrEnum):
    """By the last parts of the path."""

    MODERATIONS = "moderations"
    IMAGE_GENERATIONS = "images/generations"
    IMAGE_EDITS = "images/edits"
    IMAGE_VARIATIONS = "images/variations"
    SPEECH = "audio/speech"
    TRANSCRIPTIONS = "audio/transcriptions"
    TRANSLATIONS = "audio/translations"
    RERANK = "rerank"


PATHS: Final = frozenset(operation.value for operation in OtherOperation)


class OtherWire(Wire):
    def __init__(self, operation: OtherOperation, content_type: str = JSON) -> None:
        self._operation = operation
        self._content_type = content_type

    def read(self, body: bytes) -> dict[str, Any]:
        if self._content_type.partition(";")[0].strip().lower() != "multipart/form-data":
            return super().read(body)
        try:
            return _read_form(body, self._content_type)
        except (FormParserError, UnicodeDecodeError) as error:
            raise Refusal(400, "Could not parse multipart form", code="invalid_multipart") from error

    def model(self, request: Mapping[str, Any]) -> str:
        model = request.get("model")
        if model is None:
            raise missing("model")
        if not isinstance(model, str):
            raise invalid("model", "a string")
        return model

    def digest(self, request: Mapping[str, Any]) -> bytes:
        asked = {name: value for name, value in request.items() if name not in {"model", "stream", "user", "n"}}
        packed = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(packed, digest_size=32, person=self._operation.name.encode()[:16]).digest()

    def answer(
        self,
        request: dict[str, Any],
        model: str,
        family: Family,  # noqa: ARG002 - the interface
        wish: Directives,
        digest: bytes,
    ) -> Script:
        return _ANSWERS[self._operation](request, model, wish, digest, self._operation)

    def refused(self, refusal: Refusal) -> Refused:
        return Refused(refusal.status, {"content-type": JSON, **refusal.headers}, refusal.body())


def _moderate(request: dict[str, Any], model: str, wish: Directives, digest: bytes, _kind: OtherOperation) -> Script:
    value = request.get("input")
    if not isinstance(value, str | list) or not value:
        raise invalid("input", "a string, an array of strings or of parts")
    # Parts are judged together, texts each for itself.
    number = len(value) if isinstance(value, list) and isinstance(value[0], str) else 1
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": {name: digest[at] / 25_600_000 for at, name in enumerate(_CATEGORIES)},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
    document = {"id": f"modr-{digest[:12].hex()}", "model": model, "results": [result] * number}
    return whole(orjson.dumps(document), wish, Script(200, {}, (), model=model))


def _draw(request: dict[str, Any], model: str, wish: Directives, digest: bytes, kind: OtherOperation) -> Script:
    if kind is not OtherOperation.IMAGE_VARIATIONS and not isinstance(request.get("prompt"), str):
        raise missing("prompt")
    if kind is OtherOperation.IMAGE_VARIATIONS and "image" not in request:
        raise missing("image")
    number = read_count(request, "n", least=1, most=10) or 1
    pictures = [base64.b64encode(media.png(digest[at : at + 3])).decode() for at in range(number)]
    prompt = count(request.get("prompt") or "")
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {"text_tokens": prompt, "image_tokens": 0},
        "output_tokens": _IMAGE_TOKENS * number,
        "total_tokens": prompt + _IMAGE_TOKENS * number,
    }
    script = Script(200, {}, (), model=model, prompt_tokens=prompt, completion_tokens=_IMAGE_TOKENS * number)
    shown: dict[str, Any] = {"usage": usage} if wish.has_usage else {}
    shared = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    if request.get("stream") is not True:
        rows = [{"b64_json": picture} for picture in pictures]
        return whole(orjson.dumps({"created": _CREATED, **shared, "data": rows, **shown}), wish, script)
    name = "image_edit" if kind is OtherOperation.IMAGE_EDITS else "image_generation"
    partial = read_count(request, "partial_images", least=0, most=3) or 0
    events = [
        {"type": f"{name}.partial_image", "partial_image_index": at, "b64_json": pictures[0]} for at in range(partial)
    ]
    events += [{"type": f"{name}.completed", "b64_json": picture} for picture in pictures]
    events = [{"created_at": _CREATED, **shared, **event} for event in events]
    events[-1] |= shown
    return stream(map(_named, events), b"", _EVENTS, wish, script)


def _speak(request: dict[str, Any], model: str, wish: Directives, _digest: bytes, _kind: OtherOperation) -> Script:
    text = request.get("input")
    if not isinstance(text, str) or not text:
        raise invalid("input", "a text")
    if request.get("voice") is None:
        raise missing("voice")
    form = request.get("response_format") or "mp3"
    if form not in _SOUNDS:
        raise invalid("response_format", "one of " + ", ".join(_SOUNDS))
    seconds = min(len(text) * _SECONDS_A_CHARACTER, _MOST_SECONDS)
    sound = {"mp3": media.mp3, "wav": media.wav, "pcm": media.pcm}[form](seconds)
    tokens, prompt = math.ceil(seconds * 20), count(text)
    pieces = [sound[at : at + _PIECE] for at in range(0, len(sound), _PIECE)]
    script = Script(200, {}, (), model=model, prompt_tokens=prompt, completion_tokens=tokens)
    if request.get("stream_format") == "sse":
        usage = {"input_tokens": prompt, "output_tokens": tokens, "total_tokens": prompt + tokens}
        events: list[dict[str, Any]] = [
            {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in pieces
        ]
        events.append({"type": "speech.audio.done", **({"usage": usage} if wish.has_usage else {})})
        return stream(map(_plain, events), b"", _EVENTS, wish, script)
    if wish.error_after is not None:
        # Sound has no words for an error.
        wish = replace(wish, cut_after=wish.error_after, error_after=None)
    frames = Frames(_SOUNDS[form], half=b"", garbage=b"<html>502 (simulated)</html>", error=b"")
    return stream(((piece, 1) for piece in pieces), b"", frames, wish, script)


def _listen(request: dict[str, Any], model: str, wish: Directives, _digest: bytes, kind: OtherOperation) -> Script:
    file = request.get("file")
    if not isinstance(file, dict):
        raise missing("file")
    seconds = float(file["seconds"])
    text = f"A simulated transcript of {seconds:.1f} seconds."
    form = request.get("response_format") or "json"
    usage: dict[str, Any] = {"usage": {"type": "duration", "seconds": math.ceil(seconds)}} if wish.has_usage else {}
    script = Script(200, {}, (), model=model, completion_tokens=count(text))
    if request.get("stream") is True and kind is OtherOperation.TRANSCRIPTIONS:
        words = text.split(" ")
        deltas = [word if at == 0 else " " + word for at, word in enumerate(words)]
        events: list[dict[str, Any]] = [{"type": "transcript.text.delta", "delta": delta} for delta in deltas]
        events.append({"type": "transcript.text.done", "text": text, **usage})
        return stream(map(_plain, events), b"", _EVENTS, wish, script)
    if form in {"text", "srt", "vtt"}:
        return _as_text(_subtitles(form, text, seconds).encode(), wish, script)
    document: dict[str, Any] = {"text": text, **usage}
    if form == "verbose_json":
        segment = {
            "id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": text, "tokens": [], "temperature": 0.0,
            "avg_logprob": 0.0, "compression_ratio": 1.0, "no_speech_prob": 0.0,
        }  # fmt: skip
        task = "translate" if kind is OtherOperation.TRANSLATIONS else "transcribe"
        document |= {"task": task, "language": "english", "duration": seconds, "segments": [segment]}
    return whole(orjson.dumps(document), wish, script)


def _as_text(content: bytes, wish: Directives, script: Script) -> Script:
    written = whole(content, wish, script)
    return replace(written, headers={"content-type": "text/plain; charset=utf-8"})


def _subtitles(form: str, text: str, seconds: float) -> str:
    if form == "text":
        return text + "\n"
    mark = "," if form == "srt" else "."
    end = f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}{mark}{int(seconds % 1 * 1000):03}"
    line = f"00:00:00{mark}000 --> {end}\n{text}\n\n"
    return f"1\n{line}" if form == "srt" else f"WEBVTT\n\n{line}"


def _rank(request: dict[str, Any], model: str, wish: Directives, digest: bytes, _kind: OtherOperation) -> Script:
    query, documents = request.get("query"), request.get("documents")
    if not isinstance(query, str) or not query:
        raise invalid("query", "a text")
    if not isinstance(documents, list) or not documents:
        raise invalid("documents", "an array of texts")
    wanted = set(query.lower().split())
    texts = [entry if isinstance(entry, str) else orjson.dumps(entry).decode() for entry in documents]
    scores = [len(wanted & set(text.lower().split())) / len(wanted) if wanted else 0.0 for text in texts]
    order = sorted(range(len(texts)), key=lambda at: (-scores[at], at))
    top = read_count(request, "top_n", least=1, most=2**31) or len(order)
    rows = [
        {"index": at, "relevance_score": scores[at]}
        | ({"document": {"text": texts[at]}} if request.get("return_documents") is True else {})
        for at in order[:top]
    ]
    document: dict[str, Any] = {"id": f"rerank-{digest[:12].hex()}", "model": model, "results": rows}
    if wish.has_usage:
        document["meta"] = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return whole(orjson.dumps(document), wish, Script(200, {}, (), model=model, prompt_tokens=sum(map(count, texts))))


_ANSWERS: Final[Mapping[OtherOperation, Callable[[dict[str, Any], str, Directives, bytes, OtherOperation], Script]]] = {
    OtherOperation.MODERATIONS: _moderate,
    OtherOperation.IMAGE_GENERATIONS: _draw,
    OtherOperation.IMAGE_EDITS: _draw,
    OtherOperation.IMAGE_VARIATIONS: _draw,
    OtherOperation.SPEECH: _speak,
    OtherOperation.TRANSCRIPTIONS: _listen,
    OtherOperation.TRANSLATIONS: _listen,
    OtherOperation.RERANK: _rank,
}


def _plain(event: dict[str, Any]) -> Event:
    return b"data: %b\n\n" % orjson.dumps(event), 1


def _named(event: dict[str, Any]) -> Event:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)), 1


def _read_form(body: bytes, content_type: str) -> dict[str, Any]:
    """Texts as they are, files as their name, size and length in seconds."""
    read: dict[str, Any] = {}
    for name, filename, content in _parts(body, content_type):
        key = name.removesuffix("[]")
        if filename is not None:
            read[key] = {"filename": filename, "bytes": len(content), "seconds": _seconds(content)}
        else:
            read[key] = _typed(key, content.decode())
    return read


def _typed(name: str, text: str) -> Any:
    if name == "stream":
        return text.lower() in {"true", "1"}
    return int(text) if name in {"n", "partial_images"} and text.isdigit() else text


def _seconds(content: bytes) -> float:
    """Of a WAV as its header says; of anything else about."""
    try:
        with wave.open(io.BytesIO(content)) as sound:
            return float(sound.getnframes() / sound.getframerate())
    except (wave.Error, EOFError, ZeroDivisionError):
        return len(content) / 16_000


def _parts(body: bytes, content_type: str) -> Iterator[tuple[str, str | None, bytes]]:
    _, options = parse_options_header(content_type)
    found: list[tuple[dict[bytes, bytes], list[bytes]]] = []
    name: list[bytes] = []

    def begin() -> None:
        found.append(({}, []))

    def header_name(data: bytes, start: int, end: int) -> None:
        name.append(data[start:end])

    def header_value(data: bytes, start: int, end: int) -> None:
        field = b"".join(name).lower()
        found[-1][0][field] = found[-1][0].get(field, b"") + data[start:end]

    def header_end() -> None:
        name.clear()

    def content(data: bytes, start: int, end: int) -> None:
        found[-1][1].append(data[start:end])

    parser = MultipartParser(
        options.get(b"boundary", b""),
        {
            "on_part_begin": begin,
            "on_header_field": header_name,
            "on_header_value": header_value,
            "on_header_end": header_end,
            "on_part_data": content,
        },
    )
    parser.write(body)
    parser.finalize()
    for headers, pieces in found:
        _, told = parse_options_header(headers.get(b"content-disposition", b""))
        filename = told.get(b"filename")
        yield told.get(b"name", b"").decode(), None if filename is None else filename.decode(), b"".join(pieces)
