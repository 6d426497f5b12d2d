"""`tollkeeper prices`: a list is shown, asked about, put in force; its signature and its form are checked first."""

import base64
import json
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.commands.conftest import Gateway, Tollkeeper


def write_list(path: Path, model: str, output: str = "9") -> Path:
    row = {"model": model, "input_per_million": "3", "output_per_million": output}
    vendor = {"kind": "openai", "source": "https://prices.example", "checked": "2027-01-01", "models": [row]}
    path.write_text(json.dumps({"vendors": [vendor]}), encoding="utf-8")
    return path


def test_a_list_is_shown_before_it_is_put_in_force(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    source = str(write_list(tmp_path / "prices.json", "shown-first"))
    refused = tollkeeper("prices", "update", source, stdin="n\n")
    assert refused.code == 1
    assert "shown-first" in refused.out
    applied = tollkeeper("prices", "update", source, "--yes", "--json").json
    assert [one["model"] for one in applied["added"]] == ["shown-first"]
    assert applied["is_applied"]
    again = tollkeeper("prices", "update", source, "--yes")
    assert again.code == 0
    assert "0 added, 0 changed, 1 unchanged" in again.error


def test_a_change_shows_old_and_new_and_the_history_keeps_both(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    source = tmp_path / "prices.json"
    tollkeeper("prices", "update", str(write_list(source, "twice", "9")), "--yes")
    changed = tollkeeper("prices", "update", str(write_list(source, "twice", "8")), "--yes", "--json").json
    assert changed["changed"][0]["changes"] == [{"field": "output_per_million", "old": "9", "new": "8"}]
    rows = [row for row in tollkeeper("prices", "list", "--json").json if row["model"] == "twice"]
    assert [(row["output_per_million"], row["reference"]) for row in rows] == [
        ("8", "https://prices.example"),
        ("9", "https://prices.example"),
    ]


def test_a_price_is_shown_and_an_unknown_model_is_said_to_be_unknown(tollkeeper: Tollkeeper) -> None:
    assert tollkeeper("prices", "show", "simulated", "--json").json["output_per_million"] == "0"
    unknown = tollkeeper("prices", "show", "nothing-such")
    assert unknown.code == 1
    assert "there is no model named nothing-such" in unknown.error


def test_price_of_a_wildcards_model_is_shown(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {gateway.first_run['api_key']}"}
    for name in ("priced/*", "priced/long-*"):
        body = {"name": name, "targets": [{"provider": "simulated", "model": "{rest}"}], "unpriced": "block"}
        made = httpx.post(f"{gateway.origin}/api/v1/catalog/models", json=body, headers=headers)
        assert made.status_code == 201, made.text
    assert tollkeeper("prices", "show", "priced/long-one", "--json").json["route"] == "priced/long-*"
    assert tollkeeper("prices", "show", "priced/one", "--json").json == {
        "model": "priced/one",
        "route": "priced/*",
        "state": "unpriced: calls are refused",
    }


def test_only_what_the_owner_signed_is_put_in_force(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    owner = Ed25519PrivateKey.generate()
    source = write_list(tmp_path / "prices.json", "signed")
    key, signature = tmp_path / "key", tmp_path / "signature"
    key.write_bytes(owner.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signature.write_bytes(base64.b64encode(owner.sign(source.read_bytes())))
    words = ["prices", "update", str(source), "--yes", "--json", "--public-key", str(key), "--signature"]

    assert tollkeeper(*words, str(signature)).json["is_applied"]
    write_list(source, "forged")
    forged = tollkeeper(*words, str(signature))
    assert forged.code == 1
    assert "the signature does not fit" in forged.error
    assert "forged" not in tollkeeper("prices", "list").out
    assert tollkeeper("prices", "update", str(source), "--signature", str(signature)).code == 2


@pytest.mark.parametrize("content", ["", "[]", '{"vendors": [{"kind": "openai"}]}', '{"vendors": [], "more": 1}'])
def test_what_is_no_price_list_is_refused_before_anything_is_sent(
    tollkeeper: Tollkeeper, tmp_path: Path, content: str
) -> None:
    source = tmp_path / "prices.json"
    source.write_text(content, encoding="utf-8")
    said = tollkeeper("prices", "update", str(source), "--yes")
    assert said.code == 2
    assert "is no price list" in said.error


def test_an_address_inside_is_not_asked(tollkeeper: Tollkeeper) -> None:
    said = tollkeeper("prices", "update", "http://127.0.0.1:1/prices.json", "--yes")
    assert said.code == 1
    assert "cannot read http://127.0.0.1:1/prices.json" in said.error


def test_a_tenant_is_charged_with_a_margin_until_it_is_removed(tollkeeper: Tollkeeper) -> None:
    made = tollkeeper("prices", "adjust", "add", "--factor", "1.20", "--model", "gpt-*", "--note", "q3", "--json").json
    assert (made["factor"], made["model"], made["note"]) == ("1.2", "gpt-*", "q3")
    changed = tollkeeper("prices", "adjust", "change", made["id"], "--factor", "0.85", "--json").json
    assert (changed["factor"], changed["version"]) == ("0.85", 2)
    assert [row["factor"] for row in tollkeeper("prices", "adjust", "list", "--json").json] == ["0.85"]
    assert tollkeeper("prices", "adjust", "remove", made["id"], "--yes").code == 0
    assert tollkeeper("prices", "adjust", "list", "--json").json == []


def test_public_prices_are_listed_with_where_and_when_they_were_read(tollkeeper: Tollkeeper, tmp_path: Path) -> None:
    source = write_list(tmp_path / "prices.json", "listed-newly")
    tollkeeper("prices", "update", str(source), "--yes")
    rows = {(row["vendor"], row["model"]): row for row in tollkeeper("prices", "public", "--json").json}
    assert rows["openai", "listed-newly"]["reference"] == "https://prices.example"
    assert rows["openai", "listed-newly"]["source"] == "list"
    for vendor, model in (("azure", "gpt-4.1"), ("bedrock", "amazon.nova-pro-v1:0")):
        assert rows[vendor, model]["reference"].startswith("https://")
        assert rows[vendor, model]["checked"].startswith("2026-")
    of_azure = tollkeeper("prices", "public", "--vendor", "azure", "--json").json
    assert {row["vendor"] for row in of_azure} == {"azure"}


def test_a_margin_is_in_force_within_a_second_and_gone_as_fast(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    def charged() -> str:
        body = {"model": "simulated", "messages": [{"role": "user", "content": "Say hello."}]}
        headers = {"authorization": f"Bearer {gateway.first_run['api_key']}"}
        answer = httpx.post(f"{gateway.origin}/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-tollkeeper-cost-usd"]

    assert charged() == "0"
    added = tollkeeper("prices", "adjust", "add", "--per-request", "0.0025", "--model", "simul*", "--json").json
    gateway.process.until(lambda: charged() == "0.0025", seconds=1)
    assert tollkeeper("prices", "adjust", "remove", added["id"], "--yes").code == 0
    gateway.process.until(lambda: charged() == "0", seconds=1)
