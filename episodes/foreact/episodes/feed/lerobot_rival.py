"""What LeRobot's own class costs on the same windows: `python -m foreact.episodes.feed.lerobot_rival`, JSON in and out.

It runs in a process of its own, with one thread, so that its libraries are not counted elsewhere.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["main"]

WARM = 8  # samples before the clock starts


def main(told: dict[str, Any]) -> dict[str, Any]:
    """Draw samples one after the other, in the order given.

    Args:
        told: `path`, `camera` and `horizon`: names of LeRobot's columns and steps of action; `numbers` of the samples.

    Returns:
        `cpu_ms` of a sample [ms] with pictures as bytes, `version`, and the sum of the last sample's action, so that it
        can be seen that the windows are the same.
    """
    from lerobot import __version__
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    logging.disable(logging.WARNING)
    info = json.loads((Path(told["path"]) / "meta" / "info.json").read_text())
    steps = {told["camera"]: [0.0], "observation.state": [0.0]}
    actions = [step / info["fps"] for step in range(told["horizon"])]
    dataset = LeRobotDataset(
        "local/measured",
        root=told["path"],
        video_backend="pyav",
        delta_timestamps={**steps, "action": actions},
        return_uint8=True,
    )
    numbers: list[int] = told["numbers"]
    sample: Any = None
    for number in numbers[:WARM]:
        sample = dataset[number]
    begin = time.process_time_ns()
    for number in numbers:
        sample = dataset[number]
    spent = time.process_time_ns() - begin
    total = float(sample["action"].double().sum())
    return {"cpu_ms": spent / len(numbers) / 1e6, "version": __version__, "action_sum": total}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.stdin.read()))))
