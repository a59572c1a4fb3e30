"""Whether the options and the model of a run are those of its task."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from eqattn.config import RunConfig, TaskOptions
from eqattn.fields import FieldType
from eqattn.layers.group_layer import PairLayer
from eqattn.lift import NoLift
from eqattn.models import FieldNetworkConfig, LiftedModelConfig
from eqattn.models.config import Output
from eqattn.models.field_network import SCALARS
from eqattn.spaces import Space, euclidean

__all__ = ["check_fields", "check_model", "singles", "task_options", "without_symmetry"]

Options = TypeVar("Options", bound=TaskOptions)


def task_options(config: RunConfig, kind: type[Options]) -> Options:
    """Returns what a task asks for beside what all runs have; its defaults where nothing is said.

    Args:
      config: Configuration of the run.
      kind: The class of the task's options.

    Raises:
      ValueError: If the run has options of another task.
    """
    if type(config.options) is TaskOptions:
        return kind()
    if not isinstance(config.options, kind):
        raise ValueError(
            f"options must be {kind.__name__} for {config.task}, got {config.options}."
        )
    return config.options


def check_model(
    config: RunConfig, *, point_dim: int | None, output: Output = "invariant", kinds: Any = None
) -> None:
    """Makes sure that the model of a run fits its task.

    Args:
      config: Configuration of the run.
      point_dim: Dimension of the Euclidean space of the points; None for a space that the task
        checks itself.
      output: What the network must give.
      kinds: The class of models, or a union, that the task can use; by default networks that
        lift.

    Raises:
      ValueError: If the model is of another kind, gives something else, or lives elsewhere.
    """
    model, task = config.model, config.task
    kinds = LiftedModelConfig if kinds is None else kinds
    if not isinstance(model, kinds):
        names = [kind.__name__ for kind in getattr(kinds, "__args__", (kinds,))]
        raise ValueError(
            f"model must be of {' or '.join(names)} for {task}, got {type(model).__name__}."
        )
    network = model.network
    if not isinstance(network, LiftedModelConfig | FieldNetworkConfig):
        return
    if network.output != output:
        raise ValueError(f"output must be {output!r} for {task}, got {network.output!r}.")
    if point_dim is None:
        return
    if network.space.point_dim != point_dim or not _is_euclidean(network.space):
        raise ValueError(
            f"space must be Euclidean of {point_dim} dimensions for {task}, such as "
            f"'euclidean(SE({point_dim}))', got '{network.space}'."
        )


def check_fields(config: RunConfig, input_field: FieldType, output_field: FieldType | None) -> None:
    """Makes sure that a network of fields takes those of its task; other models have no others.

    Args:
      config: Configuration of the run.
      input_field: What the task knows of each point.
      output_field: What it asks for; None where the model around the network says it.

    Raises:
      ValueError: If the fields are others, or the network wants data of pairs.
    """
    model, task = config.model.network, config.task
    if not isinstance(model, FieldNetworkConfig):
        return
    for name, wanted in (("input_field", input_field), ("output_field", output_field)):
        if wanted is None:
            continue
        text = getattr(model, name)
        if name == "input_field" and text == SCALARS:
            fits, field = wanted.is_scalar, text
        else:
            field = FieldType.parse(text)
            fits = singles(field) == singles(wanted)
        if not fits:
            raise ValueError(f"{name} must be '{wanted}' for {task}, got '{field}'.")
    if model.num_pair_data:
        raise ValueError(f"num_pair_data must be 0 for {task}, got {model.num_pair_data}.")


def singles(field: FieldType) -> list[str]:
    """Returns its representations one by one, for copies may be written as several terms.

    Args:
      field: A direct sum.
    """
    return [term.single for term in field.terms for _ in range(term.multiplicity)]


def without_symmetry(model: LiftedModelConfig, space: Space) -> LiftedModelConfig:
    """Returns the same architecture on a space without stabilizers, for a baseline.

    Args:
      model: Architecture of the model.
      space: Space of a group of translations.
    """
    changes: dict[str, Any] = {"space": space, "lift": NoLift()}
    layer: Any = getattr(model, "layer", None)
    if isinstance(layer, PairLayer):  # whose coordinates are those of the lift
        changes["layer"] = dataclasses.replace(layer, coordinates=None)
    return dataclasses.replace(model, **changes)


def _is_euclidean(space: Space) -> bool:
    """Whether all of R^n is meant; also of a space of one's own, about which nothing is known."""
    try:
        return space == euclidean(space.group) or not type(space).__module__.startswith("eqattn.")
    except ValueError:
        return True
