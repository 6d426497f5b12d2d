"""Whether the console's client is made from the API as it is: `python -m tests.frontend_schema`.

`frontend/openapi.json` is compared with the document of the mounted application, `schema.d.ts` with what its generator
makes of it. Needs the console's packages for the second half.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tollkeeper.core.config import Settings
from tollkeeper.main import control_document, create_app

FRONTEND: Final = Path(__file__).resolve().parent.parent / "frontend"
GENERATOR: Final = "node_modules/.bin/openapi-typescript"
REMEDY: Final = "run `npm run schema:fresh` in frontend/ and commit openapi.json and src/api/schema.d.ts"
_MOST_NAMED: Final = 20


def differences(committed: Any, actual: Any, place: str = "") -> Iterator[str]:
    """Where two documents differ, outermost first."""
    if isinstance(committed, dict) and isinstance(actual, dict):
        for name in sorted(committed.keys() | actual.keys()):
            if name not in committed:
                yield f"{place}/{name} is new"
            elif name not in actual:
                yield f"{place}/{name} is gone"
            else:
                yield from differences(committed[name], actual[name], f"{place}/{name}")
    elif committed != actual:
        yield f"{place} has changed"


def document_drift(committed: Path = FRONTEND / "openapi.json") -> list[str]:
    actual = json.loads(json.dumps(control_document(create_app(Settings(_env_file=None)))))
    return list(differences(json.loads(committed.read_text()), actual))


def types_drift(frontend: Path = FRONTEND) -> bool:
    with tempfile.TemporaryDirectory(prefix="tollkeeper-schema-") as folder:
        made = Path(folder) / "schema.d.ts"
        command = [GENERATOR, "openapi.json", "-o", str(made), "--default-non-nullable", "false"]
        subprocess.run(command, cwd=frontend, check=True, capture_output=True)
        return made.read_text() != (frontend / "src" / "api" / "schema.d.ts").read_text()


def main() -> int:
    drift = document_drift()
    for line in drift[:_MOST_NAMED]:
        print(line)
    if drift or types_drift():
        print(f"the console's client is not of this API: {REMEDY}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
