"""Open3D, brought in when it is needed.

Its wheel for Linux is linked with libusb-1.0 (for RealSense cameras, which nothing here uses) and does not bring it;
most machines have none either, and `import open3d` fails with the name of a file. The PyPI package `libusb_package`
brings one: it is loaded here before Open3D is, so that Open3D finds it loaded. A library of the machine comes first.
"""

from __future__ import annotations

import ctypes
import re
import sys
from typing import Any

__all__ = ["open3d"]

EXTRA = "pip install 'foreact[points]'"
# what else the wheel is linked with, and the Debian package that has it
SYSTEM = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
    "libudev.so.1": "libudev1",
}


def open3d() -> Any:
    """The module.

    Raises:
        ModuleNotFoundError: It is not installed; the message says what to type.
        RuntimeError: A library of the system is missing; the message says which package has it.
    """
    if sys.platform == "linux":
        _load_libusb()
    try:
        import open3d as module
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"point clouds need {error.name}: {EXTRA}", name=error.name) from error
    except (ImportError, OSError) as error:
        raise RuntimeError(told(str(error))) from error
    return module


def told(said: str) -> str:
    """What to do about what the loader said.

    Args:
        said: Such as `libGL.so.1: cannot open shared object file: No such file or directory`.
    """
    found = re.search(r"lib[\w.+-]+?\.so[\w.]*", said)
    if found is None:
        return f"Open3D cannot be loaded: {said}"
    if found[0].startswith("libusb"):
        return f"Open3D needs {found[0]}, which neither this machine nor libusb_package has: {EXTRA}"
    package = SYSTEM.get(found[0])
    hint = f"sudo apt-get install {package}" if package else f"install the system's package that has {found[0]}"
    return f"Open3D needs {found[0]}, which this machine has not: {hint}"


def _load_libusb() -> None:
    """Load libusb so that all that comes after finds it, from the machine or from `libusb_package`."""
    try:
        ctypes.CDLL("libusb-1.0.so.0", mode=ctypes.RTLD_GLOBAL)
        return
    except OSError:
        pass
    try:
        import libusb_package
    except ModuleNotFoundError:
        return  # Open3D tells what is missing
    path = libusb_package.get_library_path()
    if path is not None:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
