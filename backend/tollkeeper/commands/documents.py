"""What commands read from files and standard input: a policy as JSON or YAML, a call as JSON."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tollkeeper.commands.output import fail


def read_text(source: Path) -> str:
    """`-` is standard input."""
    try:
        return sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{source} cannot be read: {error}", code=2)


def read_json(source: Path) -> Any:
    try:
        return json.loads(read_text(source))
    except ValueError as error:
        fail(f"{source} is no JSON: {error}", code=2)


def read_policy(source: Path, members: str) -> Mapping[str, Any]:
    """`members`: what one has, for whoever wrote something else."""
    # Not for every command: it takes longer to load than most of them to run.
    import yaml

    try:
        # JSON is YAML too.
        document = yaml.safe_load(read_text(source))
    except yaml.YAMLError as error:
        fail(f"{source} is no YAML: {error}", code=2)
    if not isinstance(document, dict):
        fail(f"{source} holds no policy: expected {members}", code=2)
    return document
