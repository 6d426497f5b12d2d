"""`tollkeeper demo` fills a running gateway, and fills it once."""

import re

from tests.commands.conftest import Gateway, Tollkeeper


def test_an_organisation_a_past_and_traffic_are_made_once(tollkeeper: Tollkeeper, gateway: Gateway) -> None:
    first = tollkeeper("demo", "--days", "1", "--calls", "6", "--calls-per-minute", "6000")
    assert first.code == 0, first.error
    [past] = re.findall(r"3 tenants, 8 applications, (\d+) past calls", first.out)
    assert int(past) > 500
    assert sum(int(count) for count in re.findall(r"(\d+) \w+", first.out.splitlines()[-1])) == 6
    assert figures(tollkeeper) == int(past)
    again = tollkeeper("demo", "--days", "1", "--calls", "0", "--json")
    assert again.code == 0, again.error
    assert again.json["applications"] == 8
    assert figures(tollkeeper) == int(past)
    named = [row["name"] for row in tollkeeper("tenants", "list", "--json").json]
    assert len(named) == len(set(named)) > 3
    verified = tollkeeper("ledger", "verify")
    assert verified.code == 0, verified.error


def figures(tollkeeper: Tollkeeper) -> int:
    """The calls of the past that the ledger's check adds up: other tests make theirs on the days after."""
    verified = tollkeeper("ledger", "verify", "--json")
    assert verified.code == 0, verified.error
    days = verified.json["days"]
    first = min(entry["day"] for entry in days)
    return sum(int(entry["requests"]) for entry in days if entry["day"] == first)
