"""`tollkeeper.yaml` as text: what is read, what is refused, and that each refusal names file and line."""

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollkeeper.core.config_file import load_config_file
from tollkeeper.core.config_source import MAX_FILE_BYTES, ConfigError, Problem


def write(folder: Path, text: str, name: str = "tollkeeper.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config_file(path, environ or {})
    return [str(problem) for problem in caught.value.problems]


def test_values_keep_the_types_of_yaml_1_2_and_decimals_stay_exact(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a: 0.1\nb: 012\nc: yes\nd: true\ne: null\nf: 7\ng: '7'\nh: 1e3\ni: .5\nj: 1_000\nk: 12:30\n"
    )
    assert load_config_file(path, {}).plain() == {
        "a": Decimal("0.1"),
        "b": "012",
        "c": "yes",
        "d": True,
        "e": None,
        "f": 7,
        "g": "7",
        "h": Decimal(1000),
        "i": Decimal("0.5"),
        "j": "1_000",
        "k": "12:30",
    }


def test_every_value_remembers_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "# a comment\nproviders:\n  - name: a\n    kind: x\n  - name: b\n")
    tree = load_config_file(path, {})
    assert str(tree.find(("providers", 0, "kind")).place) == "tollkeeper.yaml:4"
    assert str(tree.find(("providers", 1)).place) == "tollkeeper.yaml:5"
    assert str(tree.find(("providers", 1, "absent")).place) == "tollkeeper.yaml:5"


def test_empty_file_is_an_empty_configuration(tmp_path: Path) -> None:
    assert load_config_file(write(tmp_path, ""), {}).plain() == {}
    assert load_config_file(write(tmp_path, "# nothing\n---\n"), {}).plain() == {}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x 1\nb: *x\n", 1, "anchors"),
        ("a: 1\nb: *x\n", 2, "anchors"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "tags"),
        ("a: 1\nb: 2\na: 3\n", 3, "already there on line 1"),
        ("a:\n\tb: 1\n", 2, "tab"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("- a\n- b\n", 1, "mapping"),
        ("a: [1, 2\nb: 3\n", 2, "not valid YAML"),
        ("a: 'unclosed\n", 2, "not valid YAML"),
        ("? [a]\n: 1\n", 1, "plain word"),
        ("a: " + "[" * 60 + "]" * 60 + "\n", 1, "nested deeper"),
        ("a: 1\nb: \x07\n", 2, "control character"),
    ],
)
def test_unsafe_or_broken_yaml_is_refused_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    (message,) = problems(write(tmp_path, text))
    assert message.startswith(f"tollkeeper.yaml:{line}: ")
    assert words in message


def test_billion_laughs_costs_nothing(tmp_path: Path) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"] + [
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (message,) = problems(write(tmp_path, "\n".join(lines)))
    assert "anchors" in message


def test_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    assert problems(path) == ["tollkeeper.yaml:2: the file is not UTF-8 text: save it as UTF-8"]


def test_byte_order_mark_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "tollkeeper.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_config_file(path, {}).plain() == {"a": 1}


def test_oversized_file_is_refused(tmp_path: Path) -> None:
    (message,) = problems(write(tmp_path, "#" * (MAX_FILE_BYTES + 1)))
    assert "larger than 1024 KiB" in message


def test_missing_file_and_folder_are_refused_in_words(tmp_path: Path) -> None:
    assert "does not exist" in problems(tmp_path / "nope.yaml")[0]
    assert "not a regular file" in problems(tmp_path)[0]


def test_references_are_replaced(tmp_path: Path) -> None:
    write(tmp_path, "s3cret\n", "key.txt")
    path = write(
        tmp_path,
        """\
a: ${KEY}
b: ${ABSENT:-fallback}
c: ${EMPTY:-fallback}
d: ${EMPTY}
e: pre-${KEY}-post ${KEY}
f: $${KEY}
g: $KEY and $$ stay
h: ${file:key.txt}
i: "${ABSENT:-}"
j: ["${KEY}", {k: "${KEY}"}]
""",
    )
    assert load_config_file(path, {"KEY": "v", "EMPTY": ""}).plain() == {
        "a": "v",
        "b": "fallback",
        "c": "fallback",
        "d": "",
        "e": "pre-v-post v",
        "f": "${KEY}",
        "g": "$KEY and $$ stay",
        "h": "s3cret",
        "i": "",
        "j": ["v", {"k": "v"}],
    }


def test_replaced_text_is_never_read_as_yaml_or_as_a_reference(tmp_path: Path) -> None:
    hostile = "x\nproviders: [{name: evil}]\n${OTHER} *alias !!tag"
    tree = load_config_file(write(tmp_path, "a: ${KEY}\nb: ${N}\n"), {"KEY": hostile, "OTHER": "o", "N": "12"})
    assert tree.plain() == {"a": hostile, "b": "12"}


def test_every_unset_variable_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "providers:\n  - api_key: ${ONE}\n  - api_key: ${TWO}\n    x: ${1BAD}\n    y: ${open\n")
    found = problems(path)
    assert [line.split(": ")[0] for line in found] == [f"tollkeeper.yaml:{n}" for n in (2, 3, 4, 5)]
    assert "providers[0].api_key: the variable ONE is not set: export it, or write ${ONE:-default}" in found[0]
    assert "TWO" in found[1]
    assert "$${ for a literal" in found[2]
    assert "$${ for a literal" in found[3]


def test_secret_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    path = write(tmp_path, "a: ${file:absent}\nb: ${file:/dev/zero}\nc: ${file:big}\nd: ${file:binary}\n")
    found = problems(path)
    assert "does not exist or is not a regular file" in found[0]
    assert "does not exist or is not a regular file" in found[1]
    assert "larger than 64 KiB" in found[2]
    assert "not UTF-8" in found[3]


def test_includes_append_lists_and_join_mappings_in_order(tmp_path: Path) -> None:
    write(tmp_path, "models: [{name: b}]\nsettings: {port: 1}\n", "conf.d/10.yaml")
    write(tmp_path, "models: [{name: c}]\n", "conf.d/20.yaml")
    write(tmp_path, "models: [{name: d}]\n", "more.yaml")
    path = write(
        tmp_path, "include: [conf.d/*.yaml, more.yaml, none.d/*.yaml]\nmodels: [{name: a}]\nsettings: {host: h}\n"
    )
    tree = load_config_file(path, {})
    assert tree.plain() == {
        "models": [{"name": name} for name in "abcd"],
        "settings": {"host": "h", "port": 1},
    }
    assert str(tree.find(("models", 1)).place) == "conf.d/10.yaml:1"


def test_included_file_resolves_its_own_paths(tmp_path: Path) -> None:
    write(tmp_path, "include: two.yaml\na: ${file:secret}\n", "sub/one.yaml")
    write(tmp_path, "b: 2\n", "sub/two.yaml")
    write(tmp_path, "beside", "sub/secret")
    assert load_config_file(write(tmp_path, "include: sub/one.yaml\n"), {}).plain() == {"a": "beside", "b": 2}


def test_same_scalar_in_two_files_names_both_places(tmp_path: Path) -> None:
    write(tmp_path, "\nsettings: {port: 2}\n", "other.yaml")
    path = write(tmp_path, "include: other.yaml\nsettings:\n  port: 1\n")
    assert problems(path) == ["other.yaml:2: settings.port: is already set at tollkeeper.yaml:3: keep one of the two"]


def test_include_cycle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "include: tollkeeper.yaml\n", "b.yaml")
    (message,) = problems(write(tmp_path, "a: 1\ninclude: b.yaml\n"))
    assert message.startswith("b.yaml:1: include: tollkeeper.yaml includes itself")


def test_pattern_that_matches_its_own_file_means_the_others(tmp_path: Path) -> None:
    write(tmp_path, "b: 1\n", "b.yaml")
    assert load_config_file(write(tmp_path, "include: '*.yaml'\n"), {}).plain() == {"b": 1}


def test_missing_include_and_wrong_type_are_both_named(tmp_path: Path) -> None:
    found = problems(write(tmp_path, "include:\n  - absent.yaml\n  - 7\n"))
    assert found[0].startswith("tollkeeper.yaml:2: include: absent.yaml does not exist")
    assert found[1].startswith("tollkeeper.yaml:3: include: expected a file name")


def test_no_message_or_repr_quotes_a_value(tmp_path: Path) -> None:
    canary = "sk-canary-b7d1"
    for text in (f"a: {canary}\na: {canary}\n", f"a: [{canary}\nb: 1\n", f"a: '{canary}\n", f"a: &{canary} 1\n"):
        assert canary not in "".join(problems(write(tmp_path, text)))
    tree = load_config_file(write(tmp_path, f"a: {canary}\nb: ${{K}}\n"), {"K": canary})
    assert canary not in repr(tree)


@given(text=st.text(alphabet=st.sampled_from("ab:- \n\t[]{}&*!#'\"|>%@`${}~0.,?\x00é\u2028"), max_size=60))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused_in_words(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    found: tuple[Problem, ...] = ()
    try:
        load_config_file(path, {}).plain()
    except ConfigError as error:
        found = error.problems
    assert all(problem.place is not None and problem.place.line >= 1 for problem in found)


@given(content=st.binary(max_size=40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tollkeeper.yaml"
    path.write_bytes(content)
    with suppress(ConfigError):
        load_config_file(path, {})
