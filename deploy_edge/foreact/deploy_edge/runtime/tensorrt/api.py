"""TensorRT as it is installed here: which package, which version, and what this version has."""

import importlib
from dataclasses import dataclass
from typing import Any, Literal, cast

from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing
from foreact.deploy_edge.runtime.tensorrt.surface import TensorRt

__all__ = ["FLAVOURS", "Api", "ApiMissing", "Flavour", "load_api"]

Flavour = Literal["tensorrt", "tensorrt-rtx"]
FLAVOURS: dict[Flavour, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    # the wheel `tensorrt_rtx` only re-exports the bindings
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
INSTALL: dict[Flavour, str] = {
    "tensorrt": "on a Jetson it comes with JetPack (apt install python3-libnvinfer, see docs/jetson.md), "
    "elsewhere type: pip install tensorrt",
    "tensorrt-rtx": "type: pip install 'foreact[tensorrt]'",
}
OLDEST: dict[Flavour, tuple[int, int]] = {"tensorrt": (10, 3), "tensorrt-rtx": (1, 2)}
STRONG = "STRONGLY_TYPED"


class ApiMissing(RuntimeFailure):
    """This version of TensorRT lacks something that was asked for; the text says what and which version it is."""


@dataclass(frozen=True)
class Api:
    """One installed TensorRT.

    Attributes:
        module: What was imported.
        flavour: `tensorrt` or `tensorrt-rtx`.
        version: Full version.
    """

    module: TensorRt
    flavour: Flavour
    version: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers."""
        return _numbers(self.version)

    @property
    def rtx(self) -> bool:
        """Whether this is TensorRT-RTX, which builds for named compute capabilities and has no timing cache."""
        return self.flavour == "tensorrt-rtx"

    def members(self, enumeration: str) -> dict[str, Any]:
        """Constants of an enumeration by name; empty if this version has none of that name."""
        return dict(getattr(getattr(self.module, enumeration, None), "__members__", {}))

    def member(self, enumeration: str, name: str) -> Any:
        """One constant.

        Args:
            enumeration: Such as `BuilderFlag`.
            name: Such as `REFIT`.

        Raises:
            ApiMissing: This version does not have it, or not any more.
        """
        known = self.members(enumeration)
        if name not in known:
            raise ApiMissing(
                f"{self.flavour} {self.version} has no {enumeration}.{name}; "
                f"it has: {', '.join(sorted(known)) or 'none'}"
            )
        return known[name]

    def creation_flags(self) -> int:
        """Flags of a strongly typed network: precision comes from the ONNX alone.

        10.x builds a weakly typed network without the flag; 11 knows no other kind and may have no flag.

        Raises:
            ApiMissing: A 10.x without the flag.
        """
        known = self.members("NetworkDefinitionCreationFlag")
        if STRONG in known:
            return 1 << int(known[STRONG])
        if self.rtx or self.numbers >= (11,):
            return 0
        return self.member("NetworkDefinitionCreationFlag", STRONG)


def load_api(flavour: Flavour) -> Api:
    """Import TensorRT.

    Args:
        flavour: Which one.

    Raises:
        RuntimeMissing: It is not installed, its libraries are not found, or it is too old; says what to install.
    """
    module = _import(flavour)
    version = str(getattr(module, "__version__", "0"))
    if _numbers(version)[:2] < OLDEST[flavour]:
        oldest = ".".join(map(str, OLDEST[flavour]))
        raise RuntimeMissing(f"{flavour} {version} is too old, {oldest} is the oldest that works; {INSTALL[flavour]}")
    return Api(cast(TensorRt, module), flavour, version)


def _import(flavour: Flavour) -> Any:
    for name in FLAVOURS[flavour]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise RuntimeMissing(f"{flavour} is installed but needs {error.name}; {INSTALL[flavour]}") from error
        except (ImportError, OSError) as error:
            raise RuntimeMissing(f"{flavour} is installed but does not load: {error}; {INSTALL[flavour]}") from error
    raise RuntimeMissing(f"{flavour} is not installed; {INSTALL[flavour]}")


def _numbers(version: str) -> tuple[int, ...]:
    parts = (part for part in version.replace("+", ".").split("."))
    return tuple(int(part) for part in parts if part.isdigit())
