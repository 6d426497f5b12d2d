"""Forms: every field is found where it stands, everything doubtful is a 400, and what goes out is what came in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser

from tests.gateway.forms import BOUNDARY, HEADERS, form, part, transcription
from tollkeeper.contracts.chat import ABSENT, Call, Operation
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.dialects.openai_images import OpenAIImages
from tollkeeper.gateway.dialects.openai_transcriptions import OpenAITranscriptions
from tollkeeper.gateway.multipart import MOST_PARTS, MOST_TEXT_BYTES, read_form, write_form
from tollkeeper.gateway.simulator import media

GOOD = form(("model", "m"), ("file", b"\x00\r\n--\xff", "a b.wav"), ("include[]", "logprobs"), ("prompt", "Grüße"))


def call(content: bytes) -> Call:
    read = read_form(content, HEADERS)
    return Call(Operation.TRANSCRIPTIONS, "m", is_stream=False, body=dict(read.values), form=read)


def test_texts_and_files_are_found_where_they_stand() -> None:
    read = read_form(GOOD, HEADERS)
    assert read.values == {"model": "m", "include": ["logprobs"], "prompt": "Grüße"}
    (file,) = read.files("file")
    assert (file.filename, file.content_type) == ("a b.wav", "application/octet-stream")
    assert bytes(read.view(file)) == b"\x00\r\n--\xff"


def test_repeated_texts_are_lists() -> None:
    assert read_form(form(("a", "1"), ("a", "2"), ("b[]", "3")), HEADERS).values == {"a": ["1", "2"], "b": ["3"]}


def test_empty_values_are_values() -> None:
    read = read_form(form(("a", ""), ("f", b"", "x")), HEADERS)
    assert read.values == {"a": ""}
    assert bytes(read.view(read.files("f")[0])) == b""


@pytest.mark.parametrize(
    "header",
    [
        b'multipart/form-data; boundary="----tollkeeper-test"',
        b"Multipart/Form-Data ; charset=utf-8; Boundary=----tollkeeper-test",
    ],
)
def test_boundary_is_read_as_it_may_be_written(header: bytes) -> None:
    assert read_form(GOOD, {b"content-type": header}).values["model"] == "m"


def test_form_that_nobody_changed_goes_out_byte_by_byte() -> None:
    assert write_form(call(GOOD)) is GOOD


def test_changed_texts_are_written_and_the_rest_stays() -> None:
    changed = call(GOOD).replace(model="other", language="en")
    written = read_form(write_form(changed), HEADERS)
    assert written.values == {"model": "other", "include": ["logprobs"], "prompt": "Grüße", "language": "en"}
    assert bytes(written.view(written.files("file")[0])) == b"\x00\r\n--\xff"


def test_text_that_is_taken_away_is_not_sent() -> None:
    written = read_form(write_form(call(GOOD).replace(prompt=ABSENT, include=ABSENT)), HEADERS)
    assert written.values == {"model": "m"}
    assert len(written.files("file")) == 1


NAMED = 'content-disposition: form-data; name="a"'
BAD = {
    "nothing": b"",
    "text before": b"x" + GOOD,
    "text after": GOOD + b"x",
    "no end": GOOD[:-20],
    "another boundary": GOOD.replace(b"test--\r\n", b"toast--\r\n"),
    "boundary that goes on": GOOD.replace(b"tollkeeper-test\r\n", b"tollkeeper-testing\r\n", 1),
    "bare line feeds": GOOD.replace(b"\r\n", b"\n"),
    "no head": b"--%b\r\n\r\nx\r\n--%b--\r\n" % (BOUNDARY, BOUNDARY),
    "no name": part("content-disposition: form-data"),
    "empty name": part('content-disposition: form-data; name=""'),
    "two names": part('content-disposition: form-data; name="a"; name="b"'),
    "two dispositions": part(f"{NAMED}\r\n{NAMED}"),
    "attachment": part('content-disposition: attachment; name="a"'),
    "folded header": part(f'{NAMED};\r\n filename="x"'),
    "space before the colon": part('content-disposition : form-data; name="a"'),
    "header without a colon": part(f"{NAMED}\r\nx"),
    "open quote": part('content-disposition: form-data; name="a'),
    "junk after a quote": part('content-disposition: form-data; name="a"b'),
    "escaped name": part('content-disposition: form-data; name="mod\\el"'),
    "name that is not UTF-8": part(b'content-disposition: form-data; name="\xff"'),
    "base64": part(f"{NAMED}\r\ncontent-transfer-encoding: base64"),
    "text that is not UTF-8": part(NAMED, b"\xff"),
    "boundary at once": b"--%b\r\n%b\r\n\r\n--%b--\r\n" % (BOUNDARY, NAMED.encode(), BOUNDARY),
    # To a lenient reader the second is a field of its own, to another one the first one's text.
    "field hidden in a text": b"--%b\r\n%b\r\n\r\n%b" % (BOUNDARY, NAMED.encode(), form(("model", "dear"))),
    "head without an end": part("x" * 9_000),
    "too many fields": form(*((f"f{number}", "x") for number in range(MOST_PARTS + 1))),
    "too much text": form(("a", "x" * (MOST_TEXT_BYTES + 1))),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_what_can_be_read_in_two_ways_is_refused(content: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        read_form(content, HEADERS)
    assert refused.value.status == 400
    assert refused.value.code == "invalid_multipart"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"multipart/form-data", 400),
        (b"multipart/form-data; boundary=", 400),
        (b"multipart/form-data; boundary=" + b"x" * 71, 400),
        (b'multipart/form-data; boundary="a\rb"', 400),
        (b"multipart/form-data; boundary=a; boundary=b", 400),
        (b"application/json", 415),
        (b"", 415),
    ],
)
def test_form_without_a_boundary_is_refused(header: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        read_form(GOOD, {b"content-type": header})
    assert refused.value.status == status


FIELD = st.tuples(
    st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n\0', exclude_categories=["Cs", "Cc"]), min_size=1)
    .filter(lambda name: not name.endswith("[]") and len(name.encode()) < 200)
    .filter(str.strip),
    st.binary(max_size=200).filter(lambda content: BOUNDARY not in content),
)


@given(st.lists(FIELD, max_size=8))
def test_a_library_reads_the_same(fields: list[tuple[str, bytes]]) -> None:
    content = form(*((name, data, "f") for name, data in fields))
    read = read_form(content, HEADERS)
    assert [(part.name, bytes(read.view(part))) for part in read.parts] == fields
    assert library_contents(content) == [data for _, data in fields]


@given(st.data())
def test_mutated_forms_are_calls_or_refusals(data: st.DataObject) -> None:
    """Whatever is cut out, doubled or put in: a call or a `BadRequest`, nothing else."""
    fields = (("response_format", "text"), ("temperature", "0.2"), ("stream", "true"))
    good = bytearray(transcription(media.wav(0.01), *fields))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good)))
        length = data.draw(st.integers(0, 30))
        piece = data.draw(
            st.sampled_from([b"", b"\r\n", b"\n", b"--", b'"', BOUNDARY, b"\r\n--" + BOUNDARY, b"\xff", b";"])
        )
        good[at : at + length] = piece
    for dialect in (OpenAITranscriptions(), OpenAIImages(Operation.IMAGE_EDITS)):
        try:
            read = dialect.read_call(bytes(good), HEADERS, "")
        except BadRequest:
            continue
        assert dialect.write_call(read) == bytes(good)


def library_contents(content: bytes) -> list[bytes]:
    found: list[bytes] = []

    def begin() -> None:
        found.append(b"")

    def more(data: bytes, start: int, end: int) -> None:
        found[-1] += data[start:end]

    parser = MultipartParser(BOUNDARY, {"on_part_begin": begin, "on_part_data": more})
    parser.write(content)
    parser.finalize()
    return found
