"""A model file that was looked over, and the certainty that an engine loads that file and no other.

Engines read the file themselves: handing them its bytes would hold every weight twice while they load.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from foreact.deploy_edge.runtime.model_guard import ModelOutline, inspect_model
from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.deploy_edge.runtime.seal import SealError, verify_seal

__all__ = ["CheckedFile", "check_file", "read_sealed"]

type Identity = tuple[int, int, int, int]


@dataclass(frozen=True)
class CheckedFile:
    """What is known of a file that passed.

    Attributes:
        path: The file.
        outline: What the guard found in it.
        sha256: Of its content.
        identity: Device, inode, size and time of change, from before it was read.
    """

    path: Path
    outline: ModelOutline
    sha256: str
    identity: Identity

    def require_unchanged(self) -> None:
        """Refuse a file that was replaced or written to since it was looked over.

        Raises:
            EngineError: It was.
        """
        if _identity(self.path) != self.identity:
            raise EngineError(f"{self.path} was changed while it was being opened; try again")


def check_file(path: Path, *, sealed: bool = True) -> CheckedFile:
    """Look over a model file.

    Args:
        path: The file.
        sealed: Whether it must carry its digest, as every exported policy does.

    Raises:
        EngineError: Missing, no policy, truncated, altered or hostile.
    """
    identity = _identity(path)
    content = read_sealed(path) if sealed else path.read_bytes()
    return CheckedFile(path, inspect_model(content, str(path)), hashlib.sha256(content).hexdigest(), identity)


def read_sealed(path: Path) -> bytes:
    """The bytes of a model file whose digest is right.

    Raises:
        EngineError: Missing, no policy, truncated or altered.
    """
    _identity(path)
    content = path.read_bytes()
    try:
        verify_seal(content, str(path))
    except SealError as error:
        raise EngineError(str(error)) from error
    return content


def _identity(path: Path) -> Identity:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise EngineError(f"no policy at {path}; make one with: foreact export policy=RUN out={path}") from None
    if path.is_dir():
        raise EngineError(f"{path} is a folder; export the policy in it: foreact export policy={path}")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
