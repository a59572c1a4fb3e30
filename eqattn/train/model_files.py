"""Saved models: ``save`` and ``load``, for run folders and for models made by hand."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx

from eqattn.checks import check_instance
from eqattn.config import SavedConfig
from eqattn.files import written_aside
from eqattn.models import Ensemble, ModelConfig
from eqattn.models.config import ComputeType
from eqattn.train.building import build_model
from eqattn.train.checkpoints import Checkpoint, CheckpointStore, read_latest
from eqattn.train.config_json import from_json, to_json
from eqattn.train.named_leaves import from_named, to_named
from eqattn.train.run_folder import (
    BEST_NAME,
    CHECKPOINTS_NAME,
    CONFIG_NAME,
    check_new_folder,
    clear_unfinished,
    create_folder,
    package_versions,
    parse_config,
    read_config,
    verify_config,
    write_config_checksum,
)

__all__ = ["load", "load_checkpoint", "save"]


def save(
    model: nnx.Module, directory: str | os.PathLike[str], config: SavedConfig | None = None
) -> None:
    """Writes a model of the library, with what is needed to build it again, to a new folder.

    Args:
      model: The model.
      directory: The folder; it must not exist yet, or be empty.
      config: The configuration of its run, as :func:`load` returned it, to keep it with the
        model.

    Raises:
      FileExistsError: If the folder exists already.
      OSError: If it cannot be written; then nothing is there.
      TypeError: If the model does not say what it was built from, or ``config`` is of another
        class.
      ValueError: If the model was changed after it was built, or ``config`` is of another model;
        the message names a difference.
    """
    own = getattr(model, "config", None)
    if not isinstance(own, ModelConfig):
        raise TypeError(
            f"model must say by its config how it is built, got a {type(model).__name__}."
        )
    check_instance("config", config, SavedConfig | None)
    sizes = {name: getattr(model, name) for name in ("in_features", "out_features")}
    graphdef, params = nnx.split(model, nnx.Param)
    if config is None and isinstance(model, Ensemble):
        raise TypeError("config must be given with an ensemble: it says how many members there are")
    given = dataclasses.replace(config, **sizes) if config else None
    wanted = _abstract_of_run(given) if given else _abstract(own, **sizes)
    expected, abstract = nnx.split(wanted, nnx.Param)
    named = to_named(params)
    from_named(abstract, named, "model")
    difference = _difference(graphdef, expected)
    if difference:
        raise ValueError(f"config is not that of the model: {difference}.")
    content: Any = {"model": to_json(own), **sizes, "versions": package_versions()}
    if config is not None:
        content = to_json(config)
        for name, mine in {"model": to_json(own), **sizes}.items():
            if content[name] != mine:
                raise ValueError(
                    f"config is not that of the model: {name} of the model is {mine}, the "
                    f"configuration gives {content[name]}."
                )
    _parse(content, "config")  # what cannot be read is not written
    path = check_new_folder(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_unfinished(path)
    with written_aside(path) as aside:
        create_folder(aside, content)
        write_config_checksum(aside)
        with CheckpointStore(aside / BEST_NAME, keep=1) as store:
            store.save(Checkpoint(0, named, {}))


def load(
    directory: str | os.PathLike[str],
) -> tuple[nnx.Module, ModelConfig | SavedConfig]:
    """Returns a saved model and its configuration.

    From a run folder these are the averaged parameters with the best validation score (before the
    first evaluation: those of the last checkpoint) and a :class:`eqattn.config.SavedConfig`, whose
    ``standardization`` turns predictions into physical units.

    Args:
      directory: A run folder, or what :func:`save` wrote.

    Raises:
      FileNotFoundError: If it is not such a folder, or has no parameters yet.
      ValueError: If it is damaged, of another model, or of a newer format.
    """
    model, config, _ = load_checkpoint(directory)
    return model, config


def load_checkpoint(
    directory: str | os.PathLike[str], dtype: ComputeType | None = None
) -> tuple[nnx.Module, ModelConfig | SavedConfig, int]:
    """Returns what :func:`load` does, and the training steps behind the parameters.

    Args:
      directory: A run folder, or what :func:`save` wrote.
      dtype: Data type to compute in, in place of that of the run.

    Raises:
      FileNotFoundError: If it is not such a folder, or has no parameters yet.
      ValueError: If it is damaged, of another model, or of a newer format, or ``dtype`` is
        ``"float64"`` without ``jax_enable_x64``.
    """
    content = read_config(directory)
    path = Path(directory).expanduser().absolute()
    verify_config(path)
    checkpoint = read_latest(path / BEST_NAME)
    config, template = _parse(content, str(path / CONFIG_NAME), dtype)
    arrays = checkpoint.arrays if checkpoint else {}
    if checkpoint is None:
        checkpoint = read_latest(path / CHECKPOINTS_NAME)
        if checkpoint is None:
            raise FileNotFoundError(f"{path} has no saved parameters yet.")
        prefix = "average/"
        arrays = {
            name.removeprefix(prefix): array
            for name, array in checkpoint.arrays.items()
            if name.startswith(prefix)
        }
    graphdef, abstract = nnx.split(template, nnx.Param)
    if dtype is not None:
        kind = jnp.promote_types(dtype, jnp.float32)
        arrays = {name: array.astype(kind) for name, array in arrays.items()}
    model = nnx.merge(graphdef, from_named(abstract, arrays, str(path)))
    return model, config, checkpoint.step


def _difference(graphdef: nnx.GraphDef, expected: nnx.GraphDef) -> str:
    """What tells two models apart, for a message; "" for nothing."""
    for (name, own), (_, wanted) in zip(graphdef.attributes, expected.attributes, strict=False):
        values = [getattr(value, "value", value) for value in (own, wanted)]
        if name in ("config", "dtype", "param_dtype"):  # written in several ways
            continue
        if own != wanted:
            return f"{name!r} of the model is {values[0]!r}, the configuration gives {values[1]!r}"
    if len(graphdef.attributes) != len(expected.attributes):
        return "they are built of different parts"
    return ""


def _parse(
    content: Mapping[str, Any], where: str, dtype: ComputeType | None = None
) -> tuple[ModelConfig | SavedConfig, nnx.Module]:
    """Returns the configuration in ``config.json``, and its model without parameter values."""
    if "task" in content:
        config = parse_config(content, where)
        if dtype is not None:
            model = config.model.replace_network(dtype=dtype)
            config = dataclasses.replace(config, model=model)
        return config, _abstract_of_run(config)
    sizes: dict[str, int] = {}
    for name in ("in_features", "out_features"):
        size = content.get(name)
        if type(size) is not int:
            raise ValueError(f"{where}: {name} must be an integer, got {size!r}.")
        sizes[name] = size
    config = from_json(ModelConfig, content.get("model"), f"{where}: model")
    if dtype is not None:
        config = config.replace_network(dtype=dtype)
    return config, _abstract(config, **sizes)


def _abstract(config: ModelConfig, in_features: int, out_features: int) -> nnx.Module:
    return nnx.eval_shape(lambda: config.build(in_features, out_features, rngs=nnx.Rngs(0)))


def _abstract_of_run(config: SavedConfig) -> nnx.Module:
    sizes = config.in_features, config.out_features
    return nnx.eval_shape(lambda: build_model(config, *sizes))
