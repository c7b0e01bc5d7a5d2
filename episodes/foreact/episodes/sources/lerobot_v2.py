"""The table of contents of LeRobotDataset v2: one Parquet file and one video a camera for each episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any, override

from foreact.episodes import strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.lerobot_reader import LeRobotEpisode, LeRobotReader

__all__ = ["LeRobotV2Reader"]


class LeRobotV2Reader(LeRobotReader):
    """Episodes of a LeRobotDataset v2.0 or v2.1 folder.

    Args:
        path: Its folder.
        info: What `meta/info.json` says.
    """

    @override
    def episodes(self) -> list[LeRobotEpisode]:
        rows = read_json_lines(self.path / "meta" / "episodes.jsonl")
        rows.sort(key=lambda row: row["episode_index"])
        total = self._info.get("total_episodes")
        if [row["episode_index"] for row in rows] != list(range(len(rows))) or total != len(rows):
            raise StoreError(f"{self.path}/meta/episodes.jsonl lists {len(rows)} episodes, info.json says {total}")
        return [LeRobotEpisode(row["episode_index"], row["length"], next(iter(row["tasks"]), ""), row) for row in rows]

    @override
    def data_file(self, episode: LeRobotEpisode) -> Path:
        return self.path / self._info["data_path"].format(**self._place(episode))

    @override
    def video_file(self, episode: LeRobotEpisode, name: str) -> tuple[Path, float]:
        return self.path / self._info["video_path"].format(video_key=name, **self._place(episode)), 0.0

    def _place(self, episode: LeRobotEpisode) -> dict[str, int]:
        chunk = episode.index // max(1, int(self._info.get("chunks_size", 1000)))
        return {"episode_chunk": chunk, "episode_index": episode.index}


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Parse a file of one JSON object a line.

    Raises:
        StoreError: missing or damaged.
    """
    try:
        rows = [strictjson.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, strictjson.StrictJsonError) as error:
        raise StoreError(f"{path}: {error}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise StoreError(f"{path}: a line does not hold a JSON object")
    return rows
