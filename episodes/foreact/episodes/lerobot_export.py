"""Episode store to LeRobotDataset v3.0, written by lerobot itself."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.episode import EpisodeHeader
from foreact.episodes.lerobot_layout import TIME, StreamColumn, TableLayout, check_episode_fits, plan_table, table_rows
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.partial import BlockLog, PartialFolder
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.store import EpisodeStore

SIDECAR = "meta/foreact.json"
SIDECAR_FORMAT = 1
_BLOCK = 20  # episodes per parquet file; what an interruption can cost


def export_lerobot(store: EpisodeStore, out: Path, video: bool, progress: ProgressFn) -> dict[str, JSON]:
    """Write every episode of a store to a new LeRobot dataset.

    Args:
        store: source.
        out: folder of the dataset; must not exist. Goes on where an earlier call was stopped.
        video: encode rgb as AV1 video (small, lossy) instead of PNG (equal arrays).
        progress: called once per episode.

    Returns:
        Figures: episodes, rows, frame rate.

    Raises:
        StoreError: the store is empty, does not fit a fixed-rate table, or is damaged.
    """
    keys = store.keys()
    if not keys:
        raise StoreError(f"{store.path} holds no episodes, so there is nothing to convert")
    headers = {key: store.header(key) for key in keys}
    layout = plan_table(headers[keys[0]], store.contract)
    for key, header in headers.items():
        check_episode_fits(layout, header, key)
    source: dict[str, JSON] = {"contract": store.contract.hash, "keys": list(keys), "video": video}
    partial = PartialFolder(out, source)
    log = BlockLog(partial, rewritten="meta")
    done = log.restore()
    with _quiet_lerobot():
        while done < len(keys):
            dataset = _open_dataset(store, layout, partial.content, video, resume=done > 0)
            for key in keys[done : done + _BLOCK]:
                progress(done, len(keys), f"write {key}")
                episode = store.read(key)
                _add_episode(dataset, layout, table_rows(layout, episode, key), episode.instruction)
                done += 1
            dataset.finalize()
            log.commit(done)
    progress(done, len(keys), "write")
    write_json_atomic(partial.content / SIDECAR, _sidecar(store, layout, headers, video))
    partial.finish()
    rows = sum(-(-header.lengths["action"] // layout.steps_per_frame) for header in headers.values())
    return {"episodes": len(keys), "rows": rows, "frame_rate_hz": layout.fps, "steps_per_row": layout.steps_per_frame}


def lerobot_features(store: EpisodeStore, layout: TableLayout, video: bool) -> dict[str, dict[str, Any]]:
    """The feature table that LeRobot wants, with element names from the contract."""
    contract, k = store.contract, layout.steps_per_frame
    features: dict[str, dict[str, Any]] = {
        "observation.state": _vector("float32", list(contract.state.elements)),
        "action": _vector("float32", list(contract.action.elements)),
        TIME: _vector("int64", [f"time_ns.{step}" for step in range(k)]),
    }
    elements = {"state": contract.state.elements, "action": contract.action.elements}
    elements["action.executed"] = contract.action.elements
    for name in layout.step_streams:
        stream = layout.streams[name]
        names = elements.get(name) or tuple(map(str, range(int(np.prod(stream.shape, dtype=np.int64)))))
        features[f"steps.{name}"] = _vector(stream.dtype, [f"{item}.{step}" for step in range(k) for item in names])
    for name in layout.frame_streams:
        stream = layout.streams[name]
        items = [str(item) for item in range(int(np.prod(stream.shape, dtype=np.int64)))]
        features[f"frames.{name}"] = _vector(stream.dtype, items)
    for name in layout.image_streams:
        stream = layout.streams[name]
        features[str(stream.image)] = _image_feature(name, stream, video)
    return features


def _vector(dtype: str, names: list[str]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": (len(names),), "names": names}


def _image_feature(name: str, stream: StreamColumn, video: bool) -> dict[str, Any]:
    height, width = stream.shape[:2]
    names = ["height", "width", "channels"]
    if name.endswith(".depth"):
        # LeRobot stores such images as 16-bit TIFF, without loss; its depth videos are quantised to 12 bit.
        info = {"is_depth_map": True, "depth_unit": "mm"}
        return {"dtype": "image", "shape": (height, width, 1), "names": names, "info": info}
    lossy = video and name.endswith(".rgb")
    return {"dtype": "video" if lossy else "image", "shape": (height, width, 3), "names": names}


def _open_dataset(store: EpisodeStore, layout: TableLayout, root: Path, video: bool, resume: bool) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    if resume:
        return LeRobotDataset.resume("local/foreact", root=root, video_backend="pyav")
    return LeRobotDataset.create(
        "local/foreact",
        fps=layout.fps,
        features=lerobot_features(store, layout, video),
        root=root,
        robot_type=store.contract.embodiment,
        use_videos=video,
        video_backend="pyav",
    )


def _add_episode(dataset: Any, layout: TableLayout, columns: dict[str, np.ndarray], instruction: str) -> None:
    depth = {str(layout.streams[name].image) for name in layout.image_streams if name.endswith(".depth")}
    labels = {str(layout.streams[name].image) for name in layout.image_streams if name.endswith(".segmentation")}
    for row in range(len(columns["action"])):
        frame: dict[str, Any] = {}
        for name, values in columns.items():
            value = values[row]
            if name in depth:
                value = value[..., None]
            elif name in labels:
                # LeRobot has no 8-bit single-channel images; three equal channels are.
                value = np.repeat(value[..., None], 3, axis=-1)
            frame[name] = value
        dataset.add_frame({**frame, "task": instruction})
    dataset.save_episode(parallel_encoding=False)


def _sidecar(
    store: EpisodeStore, layout: TableLayout, headers: dict[str, EpisodeHeader], video: bool
) -> dict[str, Any]:
    """What LeRobot has no place for: contract, clocks, seeds, success, lengths."""
    return {
        "format": SIDECAR_FORMAT,
        "contract": json.loads(store.contract.to_json()),
        "attributes": store.attributes,
        "lossy_rgb": video,
        "layout": dataclasses.asdict(layout),
        "episodes": [
            {
                "key": key,
                "task": header.task,
                "instruction": header.instruction,
                "seed": header.seed,
                "success": header.success,
                "metadata": header.metadata,
                "steps": header.lengths["action"],
            }
            for key, header in headers.items()
        ],
    }


@contextlib.contextmanager
def _quiet_lerobot() -> Iterator[None]:
    """Hide the progress bars that lerobot's parts draw for every episode."""
    from datasets.utils import logging as hf_logging

    enabled = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            hf_logging.enable_progress_bar()
