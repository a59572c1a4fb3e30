"""What moves between devices, and what each holds: ``python -m benchmarks.sharding``.

A layer is differentiated by its parameters on eight simulated devices, with the batch spread over
them, and on one. Printed are the collectives that XLA makes, the bytes that they move beside those
of the gradient, and the temporary bytes of a device beside those of one device with its share of
the batch, and with the whole.
"""

import argparse
import collections
import os
import re

FLAG = "--xla_force_host_platform_device_count=8"
CASES = {
    # Name: (back end, examples, points, neighbors)
    "dense": ("dense", 64, 64, None),
    "folded": ("folded", 64, 8, None),
    "chunked, small examples": ("chunked", 64, 64, None),
    "chunked, medium examples": ("chunked", 32, 160, None),
    "chunked, large examples": ("chunked", 8, 512, None),
    "chunked, neighborhoods": ("chunked", 64, 256, 16),
}
_COLLECTIVE = re.compile(
    r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
_ARRAY = re.compile(r"(pred|bf16|[suf])(8|16|32|64)?\[([\d,]*)\]")


def measure(implementation: str, num_examples: int, num_points: int, neighbors: int | None) -> dict:
    """Collectives and bytes of one back end.

    Args:
      implementation: Name of the back end.
      num_examples: Number of examples in the batch.
      num_points: Number of points of an example.
      neighbors: Neighbors of each point; None for all points.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    from eqattn import groups, spaces
    from eqattn.attention import NearestNeighbors, find_neighbors
    from eqattn.layers import Attention, LieSelfAttention
    from eqattn.lift import NoLift, lift

    space = spaces.euclidean(groups.SE(3))
    options = Attention(num_heads=4, implementation=implementation, coordinates="invariants")
    graph, params = nnx.split(LieSelfAttention(16, space, options, rngs=nnx.Rngs(0)))

    def loss(params, points, features):
        lifted = lift(space, points, features, lift=NoLift())
        kind = None if neighbors is None else NearestNeighbors(neighbors)
        near = None if kind is None else find_neighbors(space, lifted, kind)
        return jnp.sum(nnx.merge(graph, params)(lifted, near) ** 2)

    def compiled(*args):
        return jax.jit(jax.value_and_grad(loss)).lower(*args).compile()

    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(num_examples, num_points, c)).astype(np.float32) for c in (3, 16)]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    everywhere, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
    spread = compiled(jax.device_put(params, everywhere), *jax.device_put(inputs, rows))
    counts, moved = collections.Counter(), 0
    for shapes, kind in _COLLECTIVE.findall(spread.as_text()):
        counts[kind] += 1
        for _, bits, sizes in _ARRAY.findall(shapes):
            numbers = np.prod([int(n) for n in sizes.split(",") if n], dtype=int)
            moved += int(bits or 8) // 8 * int(numbers)
    share = [x[: num_examples // 8] for x in inputs]
    temporary = [
        program.memory_analysis().temp_size_in_bytes
        for program in (spread, compiled(params, *share), compiled(params, *inputs))
    ]
    gradient = sum(x.nbytes for x in jax.tree.leaves(params))
    return {
        "collectives": dict(counts),
        "moved": moved,
        "gradient": gradient,
        "temporary": temporary,
    }


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], help="which; all by default")
    names = parser.parse_args().cases or list(CASES)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
    print("| back end | collectives | bytes moved (gradient) | MB of a device | its share | all |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        found = measure(*CASES[name])
        made = ", ".join(f"{count} {kind}" for kind, count in found["collectives"].items())
        sizes = " | ".join(f"{x / 1e6:.2f}" for x in found["temporary"])
        print(f"| {name} | {made} | {found['moved']} ({found['gradient']}) | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
