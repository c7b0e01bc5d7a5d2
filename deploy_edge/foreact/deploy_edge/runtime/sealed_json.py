"""JSON files that stand for a policy and carry a digest of themselves, for what has no place for a contract inside."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON

__all__ = ["read_sealed_json", "sealed_json"]

DIGEST = "sha256"
MAX_BYTES = 1 << 24


def sealed_json(kind: str, content: Mapping[str, JSON]) -> dict[str, JSON]:
    """Content with its kind and the sha256 of both.

    Args:
        kind: What the file is, such as `foreact stages`.
        content: Everything else.
    """
    described = {"kind": kind, **content}
    return {**described, DIGEST: _digest(described)}


def read_sealed_json(path: Path, kind: str) -> dict[str, JSON]:
    """Read what `sealed_json` made, without the digest.

    Args:
        path: The file.
        kind: What it must be.

    Raises:
        EngineError: Missing, of another kind, truncated or altered.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        content = strictjson.loads(text[:MAX_BYTES].decode())
    except FileNotFoundError:
        raise EngineError(f"{path} is missing; make it with: foreact export") from None
    except (strictjson.StrictJsonError, UnicodeDecodeError, RecursionError) as error:
        raise EngineError(f"{path} is truncated or damaged: {error}; export it again") from error
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise EngineError(f"{path} is no file of kind {kind!r}; make one with: foreact export")
    digest = content.pop(DIGEST, None)
    if digest != _digest(content):
        raise EngineError(f"{path} is altered: its content does not match its digest; export it again")
    return content


def _digest(content: Mapping[str, JSON]) -> str:
    return hashlib.sha256(strictjson.canonical(content).encode()).hexdigest()
