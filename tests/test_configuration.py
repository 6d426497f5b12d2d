"""The configuration file as a whole: what it becomes, and that every mistake is named with its line and its remedy."""

import json
import logging
from pathlib import Path

import pytest

from tests.domains.catalog.kinds import KINDS
from tollkeeper import configuration_schema
from tollkeeper.configuration import ConfigError, Configuration, load_configuration, read_declared
from tollkeeper.configuration_schema import FileSettings, json_schema
from tollkeeper.contracts.catalog import ProviderKind
from tollkeeper.core.config import Settings
from tollkeeper.core.config_layers import Layer, layer_settings
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.gateway.providers import provider_kinds

EXAMPLE = """\
providers:
  - name: local
    kind: openai_compatible
    base_url: http://127.0.0.1:9101/v1/
    api_key: ${LOCAL_KEY:-none}
    allow_private_address: true
models:
  - name: gpt-4o-mini
    strategy: priority
    targets: [{provider: local, model: gpt-4o-mini}]
    price: {input_per_million: "0.15", cached_input_per_million: "0.075", output_per_million: "0.60"}
"""


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Configuration:
    path = folder / "tollkeeper.yaml"
    path.write_text(text, encoding="utf-8")
    return load_configuration(path, environ or {}, kinds=KINDS)


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return [str(problem) for problem in caught.value.problems]


def provider_problem(folder: Path, lines: str) -> str:
    (message,) = problems(folder, f"providers:\n  - name: p\n    kind: openai_compatible\n{lines}")
    return message


def test_documented_shape_becomes_providers_models_and_exact_prices(tmp_path: Path) -> None:
    catalog = load(tmp_path, EXAMPLE, {"LOCAL_KEY": "sk-1"}).catalog
    (provider,) = catalog.providers
    assert (provider.name, provider.kind, provider.base_url) == (
        "local",
        "openai_compatible",
        "http://127.0.0.1:9101/v1",
    )
    assert provider.credentials[0].secret == "sk-1"
    assert provider.credentials[0].origins == {"http://127.0.0.1:9101"}
    assert provider.is_managed_by_file
    (model,) = catalog.models
    assert [(target.provider, target.model) for target in model.targets] == [("local", "gpt-4o-mini")]
    assert model.price is not None
    assert (model.price.input, model.price.cache_read, model.price.output) == (150_000, 75_000, 600_000)
    assert catalog.provider_places["local"] == "tollkeeper.yaml:2"
    assert catalog.model_places["gpt-4o-mini"] == "tollkeeper.yaml:8"


def test_price_without_quotes_is_as_exact_as_one_with_quotes(tmp_path: Path) -> None:
    quoted = load(tmp_path, EXAMPLE).catalog.models[0].price
    plain = load(tmp_path, EXAMPLE.replace('"', "")).catalog.models[0].price
    assert plain == quoted


def test_ids_and_price_versions_are_the_same_in_every_process(tmp_path: Path) -> None:
    assert load(tmp_path, EXAMPLE).catalog == load(tmp_path, EXAMPLE).catalog
    cheaper = load(tmp_path, EXAMPLE.replace("0.60", "0.50")).catalog.models[0]
    before = load(tmp_path, EXAMPLE).catalog.models[0]
    assert cheaper.id == before.id
    assert cheaper.price is not None
    assert before.price is not None
    assert cheaper.price.version != before.price.version


def test_known_vendor_needs_no_address_and_several_credentials_are_kept(tmp_path: Path) -> None:
    text = """\
providers:
  - name: openai
    kind: openai
    credentials: [{name: a, api_key: k1}, {name: b, api_key: k2}]
    headers: {OpenAI-Organization: org-1}
    proxy: http://user:pw@proxy.example.com:3128
    timeouts: {connect: 1, first_byte: 2.5, idle: 3, total: 4}
    options: {ratio: 0.5, deep: [1, {x: true}]}
"""
    (provider,) = load(tmp_path, text).catalog.providers
    assert provider.base_url == "https://api.openai.com/v1"
    assert [credential.secret for credential in provider.credentials] == ["k1", "k2"]
    assert provider.credentials[0].origins == {"https://api.openai.com:443"}
    assert provider.headers == {"OpenAI-Organization": "org-1"}
    assert provider.proxy_url == "http://user:pw@proxy.example.com:3128"
    assert (provider.connect_seconds, provider.first_byte_seconds) == (1.0, 2.5)
    assert provider.options == {"ratio": 0.5, "deep": [1, {"x": True}]}


def test_all_problems_are_reported_at_once_with_file_line_and_setting(tmp_path: Path) -> None:
    text = """\
providers:
  - name: a b
    kind: openai
    api_keys: x
    timeouts: {connect: -1}
models:
  - name: m
    targets: []
    price: {input_per_million: "0.1234567", output_per_million: -1}
  - targets: [{provider: p, model: m, weight: heavy}]
settings: {prot: 1, port: 99999}
"""
    found = problems(tmp_path, text)
    assert [": ".join(message.split(": ")[:2]) for message in found] == [
        "tollkeeper.yaml:2: providers[0].name",
        "tollkeeper.yaml:4: providers[0].api_keys",
        "tollkeeper.yaml:5: providers[0].timeouts.connect",
        "tollkeeper.yaml:8: models[0].targets",
        "tollkeeper.yaml:9: models[0].price.input_per_million",
        "tollkeeper.yaml:9: models[0].price.output_per_million",
        "tollkeeper.yaml:10: models[1].name",
        "tollkeeper.yaml:10: models[1].targets[0].weight",
        "tollkeeper.yaml:11: settings.port",
        "tollkeeper.yaml:11: settings.prot",
    ]
    assert "did you mean api_key?" in found[1]
    assert "at most six decimals" in found[4]
    assert "is required: add it" in found[6]
    assert "did you mean port?" in found[9]


def test_unknown_kind_lists_the_known_ones_and_the_nearest(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "providers:\n  - {name: p, kind: opena}\n")
    assert "did you mean openai?" in message
    assert "groq, openai, openai_compatible, simulated" in message


def test_target_of_an_unknown_provider_names_the_nearest(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, EXAMPLE.replace("provider: local", "provider: locla"))
    assert message.startswith("tollkeeper.yaml:10: models[0].targets[0].provider: ")
    assert "did you mean local?" in message


def test_same_name_twice_names_both_places_across_files(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("\nproviders:\n  - {name: Local, kind: simulated}\n", encoding="utf-8")
    (message,) = problems(tmp_path, "include: more.yaml\n" + EXAMPLE)
    assert message.startswith("more.yaml:3: providers[1].name: the same name stands at tollkeeper.yaml:3")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "base_url is required"),
        ("    base_url: https://u:sk-canary@example.com\n", "use api_key or headers"),
        ("    base_url: https://example.com/v1#x\n", "query or a fragment"),
        ("    base_url: https://example.com/v1?a=sk-canary\n", "query or a fragment"),
        ("    base_url: ftp://example.com\n", "expected an address such as"),
        ("    base_url: https://exa mple.com\n", "without spaces"),
        ("    base_url: 'https://example.com\\@evil.example'\n", "backslashes"),
        ("    base_url: https://example.com:99999\n", "check its host and port"),
        ("    base_url: https://[::1\n", "check its host and port"),
        ("    base_url: http://127.0.0.1:1/v1\n", "allow_private_address: true"),
        ("    base_url: http://localhost:1/v1\n", "allow_private_address: true"),
        ("    base_url: http://127.1/v1\n", "allow_private_address: true"),
        ("    base_url: http://2130706433/v1\n", "allow_private_address: true"),
        ("    base_url: http://0x7f.1/v1\n", "allow_private_address: true"),
        ("    base_url: http://169.254.169.254/latest\n", "allow_private_address: true"),
        ("    base_url: http://[::ffff:10.0.0.1]/v1\n", "allow_private_address: true"),
        ("    base_url: http://[fd00::1]/v1\n", "allow_private_address: true"),
        ("    base_url: https://example.com\n    headers: {Host: evil}\n", "set by the gateway itself"),
        ('    base_url: https://example.com\n    headers: {X-A: "sk-canary\\r\\nX: 1"}\n', "cannot be sent"),
        ("    base_url: https://example.com\n    headers: {X-A: a, x-a: b}\n", "given twice"),
        ('    base_url: https://example.com\n    api_key: "sk-canary\\n1"\n', "cannot be sent in a header"),
        ("    base_url: https://example.com\n    api_key: 12345\n", "put the value in quotes"),
        ("    base_url: https://example.com\n    api_key: a\n    credentials: [{name: n, api_key: b}]\n", "not both"),
        ("    base_url: https://example.com\n    proxy: http://u:sk-canary@h/path\n", "without a path"),
        ("    base_url: https://example.com\n    ca_bundle: absent.pem\n", "the file does not exist"),
    ],
)
def test_bad_provider_is_refused_without_quoting_it(tmp_path: Path, lines: str, words: str) -> None:
    message = provider_problem(tmp_path, lines)
    assert words in message
    assert "canary" not in message


def test_server_that_usually_runs_beside_us_needs_no_further_word(tmp_path: Path) -> None:
    kinds = (*KINDS, ProviderKind("ollama", "Ollama", "http://127.0.0.1:11434/v1", needs_credential=False))
    path = tmp_path / "tollkeeper.yaml"
    path.write_text("providers: [{name: o, kind: ollama}]\n", encoding="utf-8")
    (provider,) = load_configuration(path, {}, kinds=kinds).catalog.providers
    assert provider.allow_private_address
    path.write_text("providers: [{name: o, kind: ollama, base_url: http://10.0.0.7:11434/v1}]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="allow_private_address"):
        load_configuration(path, {}, kinds=kinds)


def test_vendor_without_its_key_says_which_variable_to_use(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "providers:\n  - {name: o, kind: openai, api_key: '${K:-}'}\n")
    assert message == "tollkeeper.yaml:2: providers[0]: OpenAI needs a key: add api_key: ${OPENAI_API_KEY}"


def test_name_of_the_simulated_provider_is_reserved(tmp_path: Path) -> None:
    (message,) = problems(tmp_path, "providers:\n  - {name: simulated, kind: openai, api_key: k}\n")
    assert "belongs to the built-in simulated provider" in message


def test_public_address_without_tls_is_a_warning_only(tmp_path: Path) -> None:
    text = "providers:\n  - name: p\n    kind: openai_compatible\n    base_url: http://example.com/v1\n"
    (warning,) = load(tmp_path, text).warnings
    assert str(warning).startswith(
        "tollkeeper.yaml:4: providers[0].base_url: sends keys and prompts without encryption"
    )
    assert load(tmp_path, EXAMPLE).warnings == ()


def test_vendor_from_the_environment_may_be_a_target_only_while_the_file_has_no_provider(tmp_path: Path) -> None:
    models = "models:\n  - {name: m, targets: [{provider: openai, model: gpt-4o}]}\n"
    environ = {"OPENAI_API_KEY": "k"}
    assert load(tmp_path, models, environ).catalog.models[0].name == "m"
    assert len(problems(tmp_path, models)) == 1
    assert len(problems(tmp_path, "providers: [{name: s, kind: simulated}]\n" + models, environ)) == 1


def test_environment_serves_its_vendors_only_while_the_file_has_no_provider(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "k"}
    path = tmp_path / "tollkeeper.yaml"

    def names(path: Path | None) -> list[str]:
        declared = read_declared(path, environ, kinds=KINDS, price_list=load_price_list())
        return [provider.name for provider in (*declared.file.providers, *declared.environment.providers)]

    assert names(None) == ["openai"]
    path.write_text("settings: {port: 1}\n", encoding="utf-8")
    assert names(path) == ["openai"]
    path.write_text(EXAMPLE, encoding="utf-8")
    assert names(path) == ["local"]


# Priced already, spoken to when their dialects are there; a name taken off here must be in the registry.
AWAITED: set[str] = set()


def test_every_vendor_of_the_price_list_is_one_the_gateway_talks_to() -> None:
    known = {kind.kind for kind in provider_kinds()}
    assert {kind for kind, _ in load_price_list().prices} <= known | AWAITED
    assert known.isdisjoint(AWAITED)


def test_secrets_appear_in_no_log_repr_or_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "sk-canary-41c7"
    text = (
        "providers:\n  - name: p\n    kind: openai_compatible\n    base_url: https://example.com\n"
        "    api_key: ${K}\n    headers: {x-key: '${K}'}\n    proxy: http://u:${K}@proxy.example.com:1\n"
        "settings: {database_url: 'postgresql://u:${K}@h/d', master_key: '${K}'}\n"
    )
    good = load(tmp_path, text, {"K": canary})
    assert good.catalog.providers[0].credentials[0].secret == canary
    bad = problems(
        tmp_path, text + "models: [{name: 'a b', targets: [{provider: q, model: '${K} ${K}'}]}]\n", {"K": canary}
    )
    shown = repr(good) + str(good) + "".join(bad) + caplog.text
    assert canary not in shown


def test_file_sets_every_setting_of_the_process_but_its_own_path() -> None:
    assert set(FileSettings.model_fields) == set(Settings.model_fields) - {"config"}


def test_settings_come_from_flag_then_environment_then_file_then_database_then_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLLKEEPER_PORT", "1111")
    monkeypatch.setenv("TOLLKEEPER_WORKERS", "3")
    loaded = load(tmp_path, "settings:\n  port: 2222\n  drain_seconds: 7\n  host: file.example\n")
    layered = layer_settings(
        {"workers": 5, "host": None},
        file=loaded.settings,
        file_places=loaded.places,
        database={"drain_seconds": 9, "access_log": False},
    )
    values = layered.settings
    assert (values.workers, values.port, values.host, values.drain_seconds) == (5, 1111, "file.example", 7)
    assert values.access_log is False
    origins = {name: (origin.layer, origin.place) for name, origin in layered.origins.items()}
    assert origins["workers"] == (Layer.FLAG, "--workers")
    assert origins["port"] == (Layer.ENVIRONMENT, "TOLLKEEPER_PORT")
    assert origins["host"] == (Layer.FILE, "tollkeeper.yaml:4")
    assert origins["access_log"] == (Layer.DATABASE, None)
    assert origins["log_level"] == (Layer.DEFAULT, None)


def test_bad_variable_is_named_without_its_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLLKEEPER_PORT", "canary")
    with pytest.raises(ConfigError) as caught:
        layer_settings({"workers": 500})
    text = str(caught.value)
    assert "TOLLKEEPER_PORT: " in text
    assert "canary" not in text


def test_published_schema_is_the_committed_one() -> None:
    committed = Path(configuration_schema.__file__).with_name("tollkeeper.schema.json")
    stale = "run: python -m tollkeeper.configuration_schema > backend/tollkeeper/tollkeeper.schema.json"
    assert json.loads(committed.read_text(encoding="utf-8")) == json_schema(), stale
