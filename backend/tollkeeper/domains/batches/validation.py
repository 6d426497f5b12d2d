"""What a batch's input must be: one JSON object a line, each a call that the batch may make. Pure, but for the reading."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tollkeeper.contracts.batches import BatchProblem

MOST_LINES: Final = 50_000
MOST_PROBLEMS: Final = 100
_LONGEST_ID: Final = 512
_BLANK: Final = re.compile(rb"\s*\n")
# What a line has beside the body of its call.
_AROUND_BODY: Final = 4_096


@dataclass(frozen=True, slots=True)
class Line:
    """One request: its number from 1 and its place in the file."""

    number: int
    start: int
    length: int
    custom_id: str


async def split_lines(pieces: AsyncIterator[bytes], longest: int) -> AsyncIterator[tuple[int, int, bytes | None]]:
    """Number, place and bytes of each line that is not blank; None for one that is too long, which is the last."""
    held = bytearray()
    number, start = 1, 0
    async for piece in pieces:
        held += piece
        begin = 0
        while True:
            # Many at once: a file may be nothing else, and others wait for this loop.
            if blank := _BLANK.match(held, begin):
                passed = blank.end() - begin
                number, start = number + held.count(b"\n", begin, blank.end()), start + passed
                begin += passed
            if (end := held.find(b"\n", begin)) < 0:
                break
            line = bytes(held[begin:end])
            yield number, start, line
            number, start = number + 1, start + len(line) + 1
            begin = end + 1
        del held[:begin]
        if len(held) > longest:
            yield number, start, None
            return
    if held.strip():
        yield number, start, bytes(held)


class Validation:
    """Judges a file line by line. `model` is the one that every line must name; `problems` is why the batch fails."""

    def __init__(self, endpoint: str, max_body_bytes: int) -> None:
        self._endpoint = endpoint
        self.longest = max_body_bytes + _AROUND_BODY
        self._seen: set[str] = set()
        self.model: str | None = None
        self.problems: list[BatchProblem] = []

    @property
    def is_over(self) -> bool:
        """Enough is wrong to be told."""
        return len(self.problems) >= MOST_PROBLEMS

    def look(self, number: int, start: int, content: bytes | None) -> Line | None:
        if content is None or len(content) > self.longest:
            self._note("line_too_long", f"This line is longer than {self.longest} bytes.", number)
            return None
        try:
            given = orjson.loads(content)
        except orjson.JSONDecodeError:
            given = None
        if not isinstance(given, dict):
            self._note("invalid_json_line", "This line is not parseable as valid JSON.", number)
            return None
        problem = self._problem(given, number)
        if problem is not None:
            self.problems.append(problem)
            return None
        custom_id = given["custom_id"]
        self._seen.add(custom_id)
        if len(self._seen) > MOST_LINES:
            self._note("too_many_requests", f"A batch has at most {MOST_LINES} requests.", number)
            return None
        return Line(number, start, len(content), custom_id)

    def end(self) -> None:
        if not self._seen and not self.problems:
            self._note("empty_file", "The input file has no requests.", None)

    def _problem(self, given: Mapping[str, Any], number: int) -> BatchProblem | None:
        for name in ("custom_id", "method", "url", "body"):
            if given.get(name) is None:
                return _missing(name, number)
        return (
            self._problem_of_id(given["custom_id"], number)
            or self._problem_of_call(given, number)
            or self._problem_of_model(given["body"].get("model"), number)
        )

    def _problem_of_id(self, custom_id: object, number: int) -> BatchProblem | None:
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _LONGEST_ID or "\0" in custom_id:
            said = f"The custom_id must be a text of 1 to {_LONGEST_ID} characters."
            return BatchProblem("invalid_custom_id", said, number, "custom_id")
        if custom_id in self._seen:
            said = "The custom_id of this request is that of another one; it must be unique in a batch."
            return BatchProblem("duplicate_custom_id", said, number, "custom_id")
        return None

    def _problem_of_call(self, given: Mapping[str, Any], number: int) -> BatchProblem | None:
        url = given["url"]
        if given["method"] != "POST":
            return BatchProblem("invalid_method", "The method must be POST.", number, "method")
        if not isinstance(url, str) or url.removeprefix("/api") != self._endpoint:
            said = f"The URL of this request is not the batch's endpoint, '{self._endpoint}'."
            return BatchProblem("invalid_url", said, number, "url")
        if not isinstance(given["body"], dict):
            return BatchProblem("invalid_body", "The body must be a JSON object.", number, "body")
        return None

    def _problem_of_model(self, model: object, number: int) -> BatchProblem | None:
        if model is None:
            return _missing("body.model", number)
        if not isinstance(model, str) or "\0" in model:
            return BatchProblem("invalid_model", "The model must be a text.", number, "body.model")
        if self.model is None:
            self.model = model
        if model != self.model:
            said = f"A batch is for one model: this request names another than '{self.model[:100]}'."
            return BatchProblem("mismatched_model", said, number, "body.model")
        return None

    def _note(self, code: str, message: str, line: int | None) -> None:
        self.problems.append(BatchProblem(code, message, line))


def _missing(name: str, number: int) -> BatchProblem:
    return BatchProblem("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
