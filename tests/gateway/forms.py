"""Forms for tests, built by hand: what a browser or an SDK sends, and what nobody should."""

from collections.abc import Sequence

BOUNDARY = b"----tollkeeper-test"
HEADERS = {b"content-type": b"multipart/form-data; boundary=" + BOUNDARY}
TYPE = {"content-type": HEADERS[b"content-type"].decode()}

Field = tuple[str, str | bytes] | tuple[str, str | bytes, str]


def form(*fields: Field, boundary: bytes = BOUNDARY) -> bytes:
    """Fields of two are texts; the third is a file's name."""
    parts = []
    for field in fields:
        head = f'Content-Disposition: form-data; name="{field[0]}"'
        if len(field) == 3:
            head += f'; filename="{field[2]}"\r\nContent-Type: application/octet-stream'
        value = field[1] if isinstance(field[1], bytes) else field[1].encode()
        parts.append(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head.encode(), value))
    return b"".join(parts) + b"--%b--\r\n" % boundary


def part(head: str | bytes, content: bytes = b"x", *, boundary: bytes = BOUNDARY) -> bytes:
    """One part with a head of one's own."""
    raw = head if isinstance(head, bytes) else head.encode()
    return b"--%b\r\n%b\r\n\r\n%b\r\n--%b--\r\n" % (boundary, raw, content, boundary)


def transcription(sound: bytes, *more: Field, model: str = "whisper-1") -> bytes:
    fields: Sequence[Field] = (("model", model), ("file", sound, "sound.wav"), *more)
    return form(*fields)
