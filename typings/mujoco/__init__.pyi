# mujoco's classes live in compiled modules without stubs; this says so to pyright, instead of an error at each use.
from typing import Any

def __getattr__(name: str) -> Any: ...
