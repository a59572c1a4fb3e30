"""How a checkout of the published code is imported, unchanged, in a new Python.

What it imports and its measured parts never call (trainers, image and plotting libraries) need
not be installed: empty modules stand for it.
"""

import importlib.machinery
import re
import sys
import types
from pathlib import Path
from typing import Any

UNUSED = (
    "attrdict", "corm_data", "corm_data.utils", "forge", "forge.flags", "h5py", "matplotlib",
    "matplotlib.animation", "matplotlib.pyplot", "oil", "oil.datasetup", "oil.datasetup.datasets",
    "oil.model_trainers", "oil.utils", "oil.utils.utils", "torchvision", "torchvision.datasets",
    "torchvision.datasets.utils", "torchvision.datasets.vision", "torchvision.transforms",
)  # fmt: skip


class Unused:
    """Stands for a class or function of a module that is absent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class UnusedModule(types.ModuleType):
    """Has every name."""

    def __getattr__(self, name: str) -> type[Unused]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Unused,), {})  # a class may have several of them as its bases


class OldSyntaxLoader(importlib.machinery.SourceFileLoader):
    """Reads ``f((*x))`` as ``f(*x)``, as Python did before 3.9 and the checkout expects."""

    def source_to_code(self, data: Any, path: Any, **kwargs: Any) -> types.CodeType:
        source = re.sub(rb"(?<![\w)\]])\((\*[^(),]+)\)", rb"\1", data)
        return super().source_to_code(source, path, **kwargs)


def import_from(checkout: str) -> None:
    """Makes the checkout's modules, and those of its submodule LieConv, the ones imported."""

    def finder(folder: str) -> importlib.machinery.FileFinder:
        if not Path(folder).is_relative_to(checkout):
            raise ImportError
        return importlib.machinery.FileFinder(folder, (OldSyntaxLoader, [".py"]))

    sys.dont_write_bytecode = True  # the checkout stays as it is
    sys.path_hooks.insert(0, finder)
    sys.path[:0] = [checkout, str(Path(checkout) / "LieConv")]
    for name in UNUSED:
        sys.modules[name] = UnusedModule(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
