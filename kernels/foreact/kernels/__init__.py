"""Tensor operators: a plain torch reference each, tuned variants, and the harness that proves and times them.

Submodules are imported by name (`from foreact.kernels.preprocess import rgbd_to_planes`). Importing this package
imports neither torch nor triton; no submodule imports triton before a triton implementation is asked for.
"""

__all__: list[str] = []
