import json
from pathlib import Path

import pytest

from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.deploy_edge.runtime.sealed_json import read_sealed_json, sealed_json

KIND = "foreact pte"


def test_a_sealed_description_shows_every_change(tmp_path: Path) -> None:
    path = tmp_path / "policy.pte.json"
    path.write_text(json.dumps(sealed_json(KIND, {"metadata": {"a": "b"}, "inputs": [1, 2]})))
    assert read_sealed_json(path, KIND) == {"kind": KIND, "metadata": {"a": "b"}, "inputs": [1, 2]}
    whole = path.read_text()
    with pytest.raises(EngineError, match="no file of kind"):
        read_sealed_json(path, "foreact stages")
    for damaged, message in (
        (whole.replace('"b"', '"c"'), "altered"),
        (whole[:-9], "truncated or damaged"),
        ("", "truncated or damaged"),
        ("[]", "no file of kind"),
        ('{"kind": "foreact pte", "x": NaN}', "truncated or damaged"),
        ("[" * 100_000, "truncated or damaged"),
    ):
        path.write_text(damaged)
        with pytest.raises(EngineError, match=message):
            read_sealed_json(path, KIND)
    with pytest.raises(EngineError, match="is missing"):
        read_sealed_json(tmp_path / "absent.json", KIND)
