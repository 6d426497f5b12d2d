"""The console's sources against the rest: the client is of this API, the lock names no private host, borders hold."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.frontend_schema import FRONTEND, REMEDY, differences, document_drift

ROOT = FRONTEND.parent
BIOME = FRONTEND / "node_modules" / ".bin" / "biome"
needs_packages = pytest.mark.skipif(not BIOME.exists(), reason="the console's packages are not installed here")


def test_the_described_api_is_the_one_that_is_served() -> None:
    assert document_drift() == [], REMEDY


def test_a_planted_change_of_the_api_is_seen(tmp_path: Path) -> None:
    document = json.loads((FRONTEND / "openapi.json").read_text())
    del document["paths"]["/api/v1/keys/{key_id}/revoke"]
    document["components"]["schemas"]["KeyView"]["properties"]["name"]["type"] = "integer"
    planted = tmp_path / "openapi.json"
    planted.write_text(json.dumps(document))
    drift = document_drift(planted)
    assert "/components/schemas/KeyView/properties/name/type has changed" in drift
    assert [line for line in drift if "revoke" in line] == ["/paths//api/v1/keys/{key_id}/revoke is new"]


def test_differences_are_named_by_their_place() -> None:
    assert list(differences({"a": 1, "b": {"c": [1]}}, {"b": {"c": [2]}, "d": 1})) == [
        "/a is gone", "/b/c has changed", "/d is new"
    ]  # fmt: skip


def test_the_lock_names_no_host() -> None:
    lock = (FRONTEND / "package-lock.json").read_text()
    assert "://" not in "".join(line for line in lock.splitlines() if '"resolved"' in line)


def test_versions_are_exact() -> None:
    package = json.loads((FRONTEND / "package.json").read_text())
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert not [name for name, version in versions.items() if not version[0].isdigit()]
    mantine = {version for name, version in versions.items() if name.startswith("@mantine/")}
    assert len(mantine) == 1


def test_the_build_is_not_kept_in_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "backend/tollkeeper/console/dist/" in ignored


def test_nothing_of_the_console_loads_from_elsewhere() -> None:
    sources = [
        path for path in (FRONTEND / "src").rglob("*.ts*") if ".test." not in path.name and "schema.d" not in path.name
    ]
    sources += [FRONTEND / "index.html", *(FRONTEND / "src").rglob("*.css"), *(FRONTEND / "public").iterdir()]
    for path in sources:
        text = path.read_text()
        assert "//cdn" not in text, path
        assert "dangerouslySetInnerHTML" not in text, path
        assert 'src="http' not in text, path


@needs_packages
@pytest.mark.parametrize(
    ("place", "imported"),
    [
        ("src/features/keys/planted.ts", "@/features/requests/queries"),
        ("src/features/keys/planted.ts", "../requests/queries"),
        ("src/features/keys/planted.ts", "@/app/registry"),
        ("src/ui/planted.ts", "@/features/keys/queries"),
        ("src/lib/planted.ts", "@/app/registry"),
    ],
)
def test_an_import_over_a_border_is_refused(tmp_path: Path, place: str, imported: str) -> None:
    shutil.copy(FRONTEND / "biome.json", tmp_path)
    planted = tmp_path / place
    planted.parent.mkdir(parents=True)
    for allowed, path in ((False, imported), (True, "@/lib/format")):
        planted.write_text(f'export * from "{path}";\n')
        done = subprocess.run(
            [BIOME, "lint", "--error-on-warnings", place], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) is allowed, done.stdout + done.stderr
        assert ("noRestrictedImports" in done.stdout + done.stderr) is not allowed
