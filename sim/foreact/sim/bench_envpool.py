"""EnvPool's side of the benchmark, run by whichever interpreter has EnvPool: it imports nothing of foreact.

Arguments: id, worlds, burn-in [control steps], model file, further options as JSON. It answers every line on standard
input, a number of control steps, by one line of JSON with what these took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

__all__ = ["main"]


def _make(known: str, nworld: int, model: str, options: dict[str, Any]) -> Any:
    import envpool  # type: ignore[import-not-found]
    import envpool_assets  # type: ignore[import-not-found]

    # it puts a folder of its own in front of the file's name
    folder = os.path.join(os.path.dirname(str(envpool_assets.__file__)), "mujoco", "assets_gym")
    file = os.path.relpath(model, folder)
    return envpool.make(known, env_type="gymnasium", num_envs=nworld, num_threads=1, xml_file=file, **options)


def main() -> None:
    """Serve windows until the input ends."""
    import numpy as np

    known, nworld, burn_in, model, options = sys.argv[1:]
    env = _make(known, int(nworld), model, json.loads(options))
    env.reset()
    low, high = env.action_space.low, env.action_space.high
    plans = np.random.default_rng(0).uniform(low, high, (64, int(nworld), *low.shape))

    def run(steps: int) -> dict[str, float]:
        cpu, wall, resets = time.process_time(), time.perf_counter(), 0
        for index in range(steps):
            _, _, terminated, truncated, _ = env.step(plans[index % len(plans)])
            # an ended episode takes one call more, which begins the next and does no physics
            resets += int(np.count_nonzero(terminated | truncated))
        return {
            "steps": steps * int(nworld) - resets,
            "cpu_seconds": time.process_time() - cpu,
            "wall_seconds": time.perf_counter() - wall,
        }

    run(int(burn_in))
    print(json.dumps(run(int(burn_in))), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(int(line))), flush=True)


if __name__ == "__main__":
    main()
