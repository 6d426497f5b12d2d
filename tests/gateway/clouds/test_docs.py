"""The page about clouds shows configurations that are accepted as they stand."""

import re
from pathlib import Path

from tollkeeper.configuration import load_configuration
from tollkeeper.contracts.cloud import is_document, read_document
from tollkeeper.gateway.providers import provider_kinds

PAGE = Path(__file__).parents[3] / "docs" / "clouds.md"


def test_example_is_accepted(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "tollkeeper.yaml"
    path.write_text(example)
    kinds = {kind.kind: kind for kind in provider_kinds()}

    configuration = load_configuration(path, {}, kinds=tuple(kinds.values()))

    assert configuration.warnings == ()
    documents = [
        read_document(family, credential.secret, is_file_managed=True, allows_any_host=False)
        for config in configuration.catalog.providers
        for credential in config.credentials
        if is_document(credential.secret) and (family := kinds[config.kind].document) is not None
    ]
    assert len(documents) == 3


def test_every_kind_with_documents_is_on_the_page() -> None:
    text = PAGE.read_text()
    assert all(f"| `{kind.kind}` |" in text for kind in provider_kinds() if kind.document is not None)
