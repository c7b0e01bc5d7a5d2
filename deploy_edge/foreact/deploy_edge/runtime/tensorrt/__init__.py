"""TensorRT and TensorRT-RTX: plans built on the machine that runs them, checked before they are loaded.

Written against what 10.3, 10.13, 10.16, 11.4 and TensorRT-RTX 1.7 have in common; `surface` lists it.
"""

__all__: list[str] = []
