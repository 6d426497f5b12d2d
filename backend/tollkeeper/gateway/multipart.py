"""Multipart bodies (RFC 7578): finds the fields of one that has arrived, and writes it again with other texts.

Only offsets are kept, so a file costs no memory beside the body itself. Strict where two readers could see two different
requests in the same bytes (bare line feeds, text outside of parts, a name twice in a header), because the vendor reads
them as well and is paid by what they say.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tollkeeper.contracts.chat import Call
from tollkeeper.contracts.form import Form, FormPart
from tollkeeper.core.errors import BadRequest, UnsupportedMediaType

FORM_TYPE: Final = b"multipart/form-data"
MOST_PARTS: Final = 256
MOST_HEAD_BYTES: Final = 8_192
MOST_TEXT_BYTES: Final = 1_048_576
_LONGEST_BOUNDARY: Final = 70
# RFC 2046, section 5.1.1.
_BOUNDARY: Final = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=? ")
_PLAIN_ENCODINGS: Final = frozenset({b"7bit", b"8bit", b"binary"})


def is_form(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == FORM_TYPE


def read_form(content: bytes, headers: Mapping[bytes, bytes]) -> Form:
    """Raises `BadRequest` for everything that could be read in another way; texts are strings, or lists where repeated."""
    if not is_form(headers):
        raise UnsupportedMediaType(
            "Send a form with the header 'content-type: multipart/form-data; boundary=…'.", param="content-type"
        )
    boundary = read_boundary(headers[b"content-type"])
    parts, close = _scan(content, boundary)
    texts: dict[str, list[str]] = {}
    repeated: set[str] = set()
    size = 0
    for part in parts:
        if part.is_file:
            continue
        size += part.end - part.start
        if size > MOST_TEXT_BYTES:
            raise invalid_form(f"its texts are longer than {MOST_TEXT_BYTES} bytes in all")
        try:
            text = content[part.start : part.end].decode()
        except UnicodeDecodeError as error:
            raise BadRequest(
                f"Invalid '{part.key[:100]}': the text is not UTF-8.", param=part.key[:100], code="invalid_multipart"
            ) from error
        texts.setdefault(part.key, []).append(text)
        if part.name != part.key:
            repeated.add(part.key)
    values: dict[str, Any] = {
        key: found if len(found) > 1 or key in repeated else found[0] for key, found in texts.items()
    }
    return Form(content, boundary, parts, close, values)


def write_form(call: Call) -> bytes:
    """The bytes as they came where nothing was changed, else with other texts in their places."""
    form = call.form
    assert form is not None
    before, after = form.values, call.body
    changed = {
        name for name in before.keys() | after.keys() if name not in before or before[name] != after.get(name, _GONE)
    }
    if not changed:
        return form.content
    view = memoryview(form.content)
    pieces: list[bytes | memoryview] = []
    written: set[str] = set()
    for part, end in _with_ends(form):
        if part.is_file or part.key not in changed:
            pieces.append(view[part.begin : end])
        elif part.key in after and part.key not in written:
            written.add(part.key)
            pieces += _texts(form.boundary, part.name, after[part.key])
    for name in sorted(changed & after.keys() - written):
        pieces += _texts(form.boundary, name, after[name])
    pieces.append(b"--%b--\r\n" % form.boundary)
    return b"".join(pieces)


def rename_files(form: Form, names: Sequence[str]) -> Form:
    """The same with other names of its files, one for each part; those of texts are looked over."""
    view = memoryview(form.content)
    pieces: list[bytes | memoryview] = []
    for (part, end), name in zip(_with_ends(form), names, strict=True):
        if not part.is_file or part.filename == name:
            pieces.append(view[part.begin : end])
            continue
        head = b'--%b\r\ncontent-disposition: form-data; name="%b"; filename="%b"\r\n'
        kind = b"" if part.content_type is None else b"content-type: %b\r\n" % part.content_type.encode("latin-1")
        plain = name.translate(_UNQUOTED).encode("utf-8", "replace")
        pieces += [head % (form.boundary, part.name.encode(), plain), kind, b"\r\n", view[part.start : end]]
    pieces.append(b"--%b--\r\n" % form.boundary)
    content = b"".join(pieces)
    return Form(content, form.boundary, *_scan(content, form.boundary), form.values)


_GONE: Final = object()
# What would end the name.
_UNQUOTED: Final = str.maketrans('"\\\r\n\0', "_____")


def _with_ends(form: Form) -> Iterator[tuple[FormPart, int]]:
    """Each part with the place where the next delimiter begins."""
    ends = [part.begin for part in form.parts[1:]]
    return zip(form.parts, [*ends, form.close], strict=True)


def _texts(boundary: bytes, name: str, value: Any) -> list[bytes | memoryview]:
    texts = value if isinstance(value, list) else [value]
    return [
        b'--%b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name.encode(), _text(text))
        for text in texts
    ]


def _text(value: Any) -> bytes:
    return (str(value).lower() if isinstance(value, bool) else str(value)).encode()


def read_boundary(header: bytes) -> bytes:
    """Of a 'content-type'. Raises `BadRequest`."""
    found: bytes | None = None
    for name, value in _parameters(header.partition(b";")[2]):
        if name == b"boundary":
            if found is not None:
                raise invalid_form("its boundary is given twice")
            found = value
    if not found or len(found) > _LONGEST_BOUNDARY or found.endswith(b" ") or not _BOUNDARY.issuperset(found):
        raise invalid_form("the header 'content-type' names no boundary of 1 to 70 characters")
    return found


def _scan(content: bytes, boundary: bytes) -> tuple[tuple[FormPart, ...], int]:
    opening, delimiter = b"--" + boundary, b"\r\n--" + boundary
    if not content.startswith(opening):
        raise invalid_form("it does not begin with its boundary")
    parts: list[FormPart] = []
    begin, place = 0, len(opening)
    while True:
        if content.startswith(b"--", place):
            if content[place + 2 : place + 5] not in {b"", b"\r\n"}:
                raise invalid_form("something follows its end")
            return tuple(parts), begin
        if not content.startswith(b"\r\n", place):
            raise invalid_form("a boundary is not followed by the end of its line")
        if len(parts) >= MOST_PARTS:
            raise invalid_form(f"it has more than {MOST_PARTS} fields")
        head_end = content.find(b"\r\n\r\n", place, place + MOST_HEAD_BYTES)
        if head_end < 0:
            raise invalid_form(f"a field has no head of at most {MOST_HEAD_BYTES} bytes")
        start = head_end + 4
        end = content.find(delimiter, start)
        if end < 0 or content.startswith(opening, start):
            raise invalid_form("its last boundary is missing, or stands where nobody looks for one")
        parts.append(read_head(content[place + 2 : head_end], begin, start, end))
        begin = end + 2
        place = end + len(delimiter)


def read_head(head: bytes, begin: int, start: int, end: int) -> FormPart:
    """A field by its header lines. Raises `BadRequest`."""
    disposition: bytes | None = None
    content_type: str | None = None
    for line in head.split(b"\r\n"):
        header, colon, value = line.partition(b":")
        lowered = header.lower()
        if not colon or not header or header != header.strip() or b"\n" in line or b"\r" in line or b"\0" in line:
            raise invalid_form("a field has a header line that is none")
        if lowered == b"content-disposition":
            if disposition is not None:
                raise invalid_form("a field has two names")
            disposition = value
        elif lowered == b"content-type":
            content_type = value.strip().decode("latin-1")[:256]
        elif lowered == b"content-transfer-encoding" and value.strip().lower() not in _PLAIN_ENCODINGS:
            raise invalid_form("a field is encoded once more; send its bytes as they are")
    if disposition is None:
        raise invalid_form("a field has no 'content-disposition'")
    name, filename = _read_disposition(disposition)
    return FormPart(name, begin, start, end, filename, content_type)


def _read_disposition(value: bytes) -> tuple[str, str | None]:
    kind, _, rest = value.partition(b";")
    if kind.strip().lower() != b"form-data":
        raise invalid_form("a field is no 'form-data'")
    name: bytes | None = None
    filename: bytes | None = None
    for parameter, given in _parameters(rest):
        if parameter == b"name":
            if name is not None:
                raise invalid_form("a field has two names")
            name = given
        elif parameter in {b"filename", b"filename*"}:
            filename = given
    if not name or len(name) > 256 or b"\\" in name:
        raise invalid_form("a field has no name")
    try:
        return name.decode(), None if filename is None else filename.decode("utf-8", "replace")
    except UnicodeDecodeError as error:
        raise invalid_form("the name of a field is not UTF-8") from error


def _parameters(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """`name=value` and `name="value"`; what is quoted may hold semicolons, and a quote behind a backslash."""
    place, length = 0, len(text)
    while place < length:
        equals = text.find(b"=", place)
        if equals < 0:
            if text[place:].strip(b" \t;"):
                raise invalid_form("a header has a parameter without a value")
            return
        name = text[place:equals].strip(b" \t;").lower()
        if not name or b";" in name or b'"' in name:
            raise invalid_form("a header has a parameter without a name")
        place = equals + 1
        if text.startswith(b'"', place):
            end = place + 1
            while end < length and text[end] != 0x22:
                end += 2 if text[end] == 0x5C else 1
            if end >= length:
                raise invalid_form("a header has a quote without its end")
            value, place = text[place + 1 : end], end + 1
        else:
            end = text.find(b";", place)
            end = length if end < 0 else end
            value, place = text[place:end].strip(), end
        following = text[place:].lstrip(b" \t")
        if following and not following.startswith(b";"):
            raise invalid_form("a header has something between two parameters")
        yield name, value


def invalid_form(why: str) -> BadRequest:
    """The refusal of a form, with the reason as part of a sentence."""
    return BadRequest(f"The form cannot be read: {why}.", code="invalid_multipart")
