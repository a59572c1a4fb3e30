"""The programs of the published PyTorch LieTransformer that are measured.

Runs in the worker's Python, which needs torch, numpy, einops and, for springs, torchdiffeq.

A layer's programs do what :func:`eqattn.attention.attend` does, which has no linear maps: pairs
from the tokens' elements, location MLP, content, softmax, and the weighted sum of the values. Its
four linear maps of features are therefore measured apart, as ``linear_forward`` and
``linear_forward_backward``; the pairs, which a published model computes once for all its layers,
are timed with the layer and also alone, as ``pairs``.
"""

import os
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from benchmarks.reference_worker import Programs

NUM_SPECIES = 5
CHARGE_SCALE = 9
NUM_TIMES = 5
TIME_STEP = 5 / 499


def build(workload: dict[str, Any]) -> tuple[Programs, dict[str, Any]]:
    """Programs of a workload with random weights and inputs, and the versions that they use."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    kinds = {"layer": layer_programs, "molecules": molecules_programs, "springs": springs_programs}
    shape = SimpleNamespace(**workload)
    return kinds[shape.kind](shape), {"torch": torch.__version__}


def layer_programs(shape: SimpleNamespace) -> Programs:
    """One attention layer."""
    from eqv_transformer.eqv_attention import EquivairantMultiheadAttention
    from lie_conv.lieGroups import SE3, T

    group = {"T": lambda: T(shape.space_dim), "SE3": SE3}[shape.group]()
    layer = EquivairantMultiheadAttention(
        shape.dim, shape.dim, shape.num_heads, group, kernel_dim=shape.location_dim
    )
    content = layer.kernel.feature_kernel
    linear = [layer.input_linear, layer.output_linear, content.fc_q, content.fc_k]
    layer.input_linear = layer.output_linear = content.fc_q = content.fc_k = nn.Identity()
    points = torch.randn(shape.batch, shape.num_points, shape.space_dim)
    elements, _ = group.lifted_elems(points, shape.num_samples)
    features = torch.randn(*elements.shape[:2], shape.dim, requires_grad=True)
    mask = torch.ones(elements.shape[:2], dtype=torch.bool)

    def pairs() -> torch.Tensor:
        with torch.no_grad():
            return group.elems2pairs(elements)

    def attention() -> list[torch.Tensor]:
        return [layer((pairs(), features, mask))[1]]

    def linear_maps() -> list[torch.Tensor]:
        return [function(features) for function in linear]

    def backward(outputs: list[torch.Tensor]) -> None:
        for parameter in (
            features,
            *layer.parameters(),
            *(p for f in linear for p in f.parameters()),
        ):
            parameter.grad = None
        sum(output.square().sum() for output in outputs).backward()

    return {
        "forward": torch.no_grad()(attention),
        "forward_backward": lambda: backward(attention()),
        "pairs": pairs,
        "linear_forward": torch.no_grad()(linear_maps),
        "linear_forward_backward": lambda: backward(linear_maps()),
    }


def molecules_programs(shape: SimpleNamespace) -> Programs:
    """A step of training on molecules whose atoms are all there, with mean absolute error."""
    from configs.molecule import eqv_transformer_model

    config = model_config(
        shape,
        group=f"T{shape.space_dim}" if shape.group == "T" else shape.group,
        num_species=NUM_SPECIES,
        charge_scale=CHARGE_SCALE,
        attention_fn="softmax",
        data_augmentation=False,
        use_pseudo_lift=False,
        positive_quaternions=False,
        dual_quaternions=False,
        mc_samples=0,
        fill=1.0,
        feature_embed_dim=None,
        max_sample_norm=None,
        lie_algebra_nonlinearity=None,
        task="target",
        ds_stats=None,
    )
    model, _ = eqv_transformer_model.load(config)
    size = (shape.batch, shape.num_points)
    species = torch.randint(NUM_SPECIES, size)
    positions = torch.randn(*size, shape.space_dim)
    batch = {
        "positions": positions,
        "A": positions,  # only its type is read
        "one_hot": nn.functional.one_hot(species, NUM_SPECIES).bool(),
        "charges": species + 1,  # 0 would be padding
        "target": torch.randn(shape.batch),
    }
    return step_programs(model, batch)


def springs_programs(shape: SimpleNamespace) -> Programs:
    """A step of training a Hamiltonian on particles in the plane, by Runge-Kutta."""
    from configs.dynamics import eqv_transformer_model

    config = model_config(
        shape,
        group=f"{shape.group}({shape.space_dim})",
        sys_dim=2,
        attention_fn="dot_product",
        data_config="configs/dynamics/spring_dynamics_data.py",
        debug=False,
        model_with_dict=True,
    )
    model, _ = eqv_transformer_model.load(config)
    state = 2 * shape.num_points * shape.space_dim
    starts = 0.5 * torch.randn(shape.batch, state)
    systems = 0.1 + 3 * torch.rand(shape.batch, shape.num_points, config.sys_dim)
    times = (TIME_STEP * torch.arange(NUM_TIMES)).expand(shape.batch, NUM_TIMES)
    truth = 0.5 * torch.randn(shape.batch, NUM_TIMES, state)
    return step_programs(model, ((starts, systems, times), truth))


def model_config(shape: SimpleNamespace, **options: Any) -> SimpleNamespace:
    """The checkout's own defaults, with the sizes of the workload."""
    return SimpleNamespace(
        dim_hidden=shape.dim,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        kernel_dim=shape.location_dim,
        lift_samples=shape.num_samples,
        kernel_type="mlp",
        activation_function="swish",
        block_norm="layer_pre",
        output_norm="none",
        kernel_norm="none",
        architecture="model_1",
        mean_pooling=True,
        model_seed=0,
        **options,
    )


def step_programs(model: nn.Module, batch: Any) -> Programs:
    """The loss, its gradients, and the change of the weights by Adam, each alone."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)  # weights hardly move

    def forward_backward() -> None:
        optimizer.zero_grad()
        model(batch).loss.backward()

    return {
        "forward": torch.no_grad()(lambda: model(batch).loss),
        "forward_backward": forward_backward,
        "optimizer": optimizer.step,  # with the gradients of the last call
    }
