"""State dicts of other frameworks: read from a file without running code, consumed name by name."""

import importlib
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqattn.checks import install_hint

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".tar")
NESTED = ("state_dict", "model_state_dict", "model")
"""Names under which checkpoints keep the state dict beside other things."""


def read_state_dict(path: str | os.PathLike[str], prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint file, by name; nothing in the file is executed.

    Args:
      path: A ``.npz``, a ``.safetensors`` (extra ``interop``), or a PyTorch checkpoint (``.pt``,
        ``.pth``, ``.ckpt``, ``.tar``; needs PyTorch, which then reads weights only; bfloat16
        becomes float32).
      prefix: Prefix of the names to keep, such as ``"module."``; it is taken off.

    Raises:
      FileNotFoundError: If there is no such file.
      ModuleNotFoundError: If the format needs a package that is not installed.
      ValueError: For a file of another kind, one that cannot be read, or a prefix no name has.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path must be a checkpoint file, got {path}, which does not exist")
    if path.suffix == ".npz":
        arrays = _read_npz(path)
    elif path.suffix == ".safetensors":
        arrays = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        arrays = _read_torch(path)
    else:
        known = (".npz", ".safetensors", *TORCH_SUFFIXES)
        raise ValueError(f"path must end in one of {', '.join(known)}, got {path}")
    kept = {name[len(prefix) :]: a for name, a in arrays.items() if name.startswith(prefix)}
    if not kept:
        raise ValueError(f"prefix {prefix!r} begins no name in {path}")
    return kept


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"path {path} cannot be read as npz: it is no zip archive")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"path {path} cannot be read as npz: {error}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading .safetensors needs the extra interop: {install_hint('interop')}"
        ) from error
    try:
        return load_file(path)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"path {path} cannot be read as safetensors: {error}") from error


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    try:
        torch: Any = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"reading {path.suffix} needs PyTorch; or save the state dict as .npz or .safetensors"
        ) from error
    import pickle

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"path {path} cannot be read as weights: {reason}") from error
    for name in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping):
        raise ValueError(f"path {path} must hold a state dict, got {type(content).__name__}")
    return {
        str(name): _to_numpy(torch, tensor)
        for name, tensor in content.items()
        if isinstance(tensor, torch.Tensor)
    }


def _to_numpy(torch: Any, tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


class StateDictReader:
    """Hands out the arrays of a state dict by name, and sees that each is used.

    Args:
      state_dict: Arrays by name.

    Raises:
      TypeError: If it is no mapping.
      ValueError: If it is empty, or its arrays are not floating point numbers of one type.
    """

    def __init__(self, state_dict: Mapping[str, np.ndarray]):
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping, got a {type(state_dict).__name__}")
        arrays = {name: np.asarray(array) for name, array in state_dict.items()}
        self._left = {
            # Of another order of bytes, NumPy takes them for another type.
            name: array.astype(array.dtype.newbyteorder("="))
            for name, array in arrays.items()
        }
        if not self._left:
            raise ValueError("state_dict must hold arrays, got none")
        types = {array.dtype for array in self._left.values()}
        if len(types) != 1 or not np.issubdtype(next(iter(types)), np.floating):
            names = sorted(str(t) for t in types)
            raise ValueError(f"state_dict must hold floating point arrays of one type, got {names}")
        (self.dtype,) = types

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, which stays.

        Raises:
          ValueError: If it is missing.
        """
        if name not in self._left:
            raise ValueError(f"state_dict must hold {name!r}, which is missing")
        return self._left[name].shape

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Takes out an array.

        Raises:
          ValueError: If it is missing, has another shape, or is not finite.
        """
        if self.shape(name) != shape:
            raise ValueError(f"{name!r} must have shape {shape}, got {self.shape(name)}")
        if not np.isfinite(self._left[name]).all():
            raise ValueError(f"{name!r} must be finite, and is not")
        return self._left.pop(name)

    def close(self) -> None:
        """Raises a ValueError if arrays are left that nobody asked for."""
        if self._left:
            raise ValueError(f"state_dict holds unknown names: {', '.join(sorted(self._left))}")
