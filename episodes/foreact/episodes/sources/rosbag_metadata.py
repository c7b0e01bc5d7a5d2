"""`metadata.yaml` of a rosbag2 bag: which files belong to it, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.protocol import SourceError

__all__ = ["BagInfo", "read_info"]

LARGEST = 2 << 20
ROOT = "rosbag2_bagfile_information"


@dataclass(frozen=True)
class BagInfo:
    """What the file says.

    Attributes:
        files: Names of the bag's files, in order.
        messages: How many there are; None where it is not said.
        compression: `zstd` or empty.
        mode: What is compressed: `FILE`, `MESSAGE` or empty.
        rest: Further figures that are shown.
    """

    files: tuple[str, ...]
    messages: int | None
    compression: str
    mode: str
    rest: Mapping[str, JSON]


def read_info(path: Path) -> BagInfo:
    """Read a bag's `metadata.yaml`.

    Raises:
        SourceError: It is damaged, or names files outside the bag's folder.
    """
    import yaml

    if path.stat().st_size > LARGEST:
        raise SourceError(f"{path} is larger than {LARGEST} bytes")
    try:
        found = _loader()(path.read_text("utf-8")).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, TypeError, OverflowError) as error:
        raise SourceError(f"{path} is damaged: {str(error)[:300]}") from None
    info = found.get(ROOT) if isinstance(found, dict) else None
    if not isinstance(info, dict) or not isinstance(info.get("relative_file_paths"), list):
        raise SourceError(f"{path} does not say which files the bag has")
    names = tuple(_inside(path, name) for name in info["relative_file_paths"])
    total, mode, compression = info.get("message_count"), info.get("compression_mode"), info.get("compression_format")
    return BagInfo(
        names,
        total if type(total) is int else None,
        compression if isinstance(compression, str) else "",
        mode.upper() if isinstance(mode, str) and mode.upper() != "NONE" else "",
        {
            key: info[key]
            for key in ("version", "storage_identifier", "ros_distro")
            if type(info.get(key)) in (int, str)
        },
    )


def _inside(path: Path, name: object) -> str:
    """A file's name; older bags put the folder's before it."""
    parts = PurePosixPath(name).parts if isinstance(name, str) and "\0" not in name else ()
    if not parts or ".." in parts or PurePosixPath(*parts).is_absolute() or "\\" in str(name):
        raise SourceError(f"{path} names the file {name!r}, which does not lie in the bag's folder")
    return parts[-1]


@cache
def _loader() -> type[Any]:
    import yaml

    class Plain(yaml.SafeLoader):
        """Safe YAML without aliases, whose repetition can blow a small text up."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.YAMLError("aliases do not belong into a bag's metadata")
            return super().compose_node(parent, index)

    return Plain
