"""Makes the figure of README.md: ``.venv/bin/python -m benchmarks.readme_figure``.

Left, a molecule of the embedded set whose atoms are lifted to SE(3) by Haar samples; middle, the
attention of one atom before and after the molecule is rotated; right, how far the output of a
network with random weights moves when its input is rotated. Computed in float64.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from flax import nnx
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

import eqattn
from eqattn.attention import PairFeatures, PairMLP, attend
from eqattn.attention.terms.mlp import init_mlp
from eqattn.data.atoms import Configurations
from eqattn.groups import SE, SO
from eqattn.layers import Attention, MLPLocation
from eqattn.lift import Haar, NoLift, lift
from eqattn.models import LieTransformer
from eqattn.spaces import Coordinates
from eqattn.tasks.molecules import features, load

OUTPUT = Path(__file__).parent / "figures" / "lift.png"
MOLECULE = 1843
SPACE = eqattn.spaces.euclidean(SE(3))
NUM_SAMPLES = (1, 4, 16, 64)
NUM_KEYS = 64

COLORS = {1: "#d8dbe0", 6: "#4a4f57", 7: "#3f6fd1", 8: "#d8433f", 9: "#4da35a"}
SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F"}
RADII = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57}  # covalent, in ångström
AXES = ("#e0633c", "#2f9e77", "#5a4fcf")
INK, GRAY, ACCENT, EXACT = "#22262b", "#5d646d", "#d9480f", "#2f6fb0"


def molecule() -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and centered positions of the molecule, its plane turned to the viewer."""
    one: Configurations = load()[np.array([MOLECULE])]
    positions = one.positions.astype(np.float64)
    positions -= positions.mean(0)
    _, _, axes = np.linalg.svd(positions, full_matrices=False)
    axes *= np.sign(np.linalg.det(axes))
    return one.numbers, positions @ axes.T


def rotation(seed: int) -> jax.Array:
    """A Haar rotation."""
    return SO(3).sample(jax.random.key(seed), (), jnp.float64)


def draw_bonds(ax: Axes, numbers: np.ndarray, positions: np.ndarray, **style: Any) -> None:
    """Lines between atoms closer than 1.25 times the sum of their covalent radii."""
    radii = np.array([RADII[int(z)] for z in numbers])
    gaps = np.linalg.norm(positions[:, None] - positions, axis=-1)
    for i, j in np.argwhere(np.triu(gaps < 1.25 * (radii[:, None] + radii), 1)):
        ax.plot(*positions[[i, j], :2].T, solid_capstyle="round", **style)


def draw_atoms(ax: Axes, numbers: np.ndarray, positions: np.ndarray) -> None:
    """Discs with the symbols of the elements, nearer ones last."""
    for i in np.argsort(positions[:, 2]):
        z = int(numbers[i])
        x, y = positions[i, :2]
        order = 5 + 0.1 * positions[i, 2]
        ax.scatter(
            x, y, s=250 if z > 1 else 150, c=COLORS[z], edgecolors="white", lw=1.3, zorder=order
        )
        ax.annotate(
            SYMBOLS[z],
            (x, y),
            color=INK if z == 1 else "white",
            fontsize=9,
            ha="center",
            va="center_baseline",
            zorder=order + 0.05,
        )


def write_title(ax: Axes, title: str, text: str) -> None:
    """A title and a line below it, at the same height in every panel."""
    ax.text(0, 1.115, title, transform=ax.transAxes, fontsize=13, fontweight="bold", color=INK)
    ax.text(0, 1.035, text, transform=ax.transAxes, fontsize=9.5, color=GRAY)


def finish_drawing(ax: Axes, margin: float) -> None:
    """Equal scales, and no frame."""
    ax.margins(margin)
    ax.set_aspect("equal", adjustable="datalim")
    ax.axis("off")


def draw_lift(ax: Axes) -> None:
    """Two frames at every atom, as lifted; the second is pale."""
    numbers, positions = molecule()
    positions = np.asarray(SO(3).act(SO(3).exp(jnp.array([-0.8, 0.25, 0.1])), positions))
    lifted = lift(
        SPACE,
        jnp.asarray(positions),
        jnp.zeros((len(positions), 1)),
        key=jax.random.key(5),
        lift=Haar(2),
    )
    draw_bonds(ax, numbers, positions, color="#cdd2d8", lw=5, zorder=1)
    arrow = {"arrowstyle": "-|>,head_width=0.17,head_length=0.3", "shrinkA": 6, "shrinkB": 0}
    for i, samples in enumerate(np.asarray(lifted.elements)):
        for element, alpha in zip(samples, (0.95, 0.28), strict=True):
            for axis, color in enumerate(AXES):
                tip = np.asarray(SE(3).act(element, 0.66 * jnp.eye(3)[axis]))
                style = {**arrow, "color": color, "lw": 1.8, "alpha": alpha}
                order = 5 + 0.1 * tip[2]
                ax.annotate("", tip[:2], positions[i, :2], zorder=order, arrowprops=style)
    draw_atoms(ax, numbers, positions)
    write_title(ax, "Points lift to the group", "Haar(2): two frames g of SE(3) at every atom")
    finish_drawing(ax, 0.09)


def attention_weights(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Weights [N N] of one head with random parameters: attention whose values are one-hot."""
    inputs = jnp.asarray(features(numbers), jnp.float64)
    lifted = lift(SPACE, jnp.asarray(positions), inputs, lift=NoLift())
    elements = lifted.elements[:, 0]
    pair = PairFeatures(SPACE, "invariants", num_radial=8, cutoff=5.0)
    weights, biases = init_mlp(jax.random.key(3), (pair.size, 32, 32, 1), dtype=jnp.float64)
    location = PairMLP(tuple(2.5 * w for w in weights), biases, pair)
    project = jax.random.normal(jax.random.key(4), (2, inputs.shape[-1], 1, 8), jnp.float64)
    query, key = jnp.einsum("nc,pchd->pnhd", inputs, project)
    one_hot = jnp.eye(len(numbers), dtype=jnp.float64)[:, None]
    return np.asarray(attend(query, key, one_hot, elements, elements, location)[:, 0])


def draw_attention(before: Axes, after: Axes, query: int = 1) -> None:
    """The weights of one query atom, before and after a rotation of the input."""
    numbers, positions = molecule()
    turn = SO(3).exp(jnp.array([0.75, 0.3, 2.1]))
    rotated = np.asarray(SO(3).act(turn, positions))
    weights = [attention_weights(numbers, p) for p in (positions, rotated)]
    difference = np.abs(weights[0] - weights[1]).max()
    halo = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for ax, points, table in zip((before, after), (positions, rotated), weights, strict=True):
        draw_bonds(ax, numbers, points, color="#e3e6ea", lw=5, zorder=1)
        for key, weight in enumerate(table[query]):
            if key == query:
                continue
            ends = {"posA": points[query, :2], "posB": points[key, :2]}
            style = {"color": ACCENT, "lw": 0.5 + 18 * weight, "alpha": 0.35 + 0.6 * weight}
            curve = {"arrowstyle": "-", "connectionstyle": "arc3,rad=0.16", "capstyle": "butt"}
            ax.add_patch(FancyArrowPatch(**ends, **style, **curve, zorder=2, shrinkA=0, shrinkB=0))
        draw_atoms(ax, numbers, points)
        x, y = points[query, :2]
        ax.scatter(x, y, s=430, facecolors="none", edgecolors=ACCENT, lw=2.2, zorder=4)
        for key in np.argsort(table[query])[-4:]:
            if key != query:
                away = points[key, :2] - points[:, :2].mean(0)
                ax.annotate(
                    f"{table[query, key]:.3f}",
                    points[key, :2],
                    19 * away / np.linalg.norm(away),
                    fontsize=8.5,
                    textcoords="offset points",
                    ha="center",
                    va="center",
                    color=INK,
                    zorder=8,
                    path_effects=halo,
                )
        finish_drawing(ax, 0.16)
    write_title(before, "Attention does not see the rotation", "weights of the ringed atom …")
    write_title(after, "", f"… and of the input rotated: they differ by {difference:.0e}")


def deviations() -> dict[str, np.ndarray]:
    """RMS of f(u·x) - f(x) over keys, molecules and rotations, over the standard deviation of f."""
    rng = np.random.default_rng(0)
    points = jnp.asarray(rng.normal(size=(8, 6, 3)))
    inputs = jnp.asarray(rng.normal(size=(8, 6, 4)))
    turns = SO(3).sample(jax.random.key(1), (8, 1), jnp.float64)
    turned = SO(3).act(turns, points)
    options: dict[str, Any] = {"dim": 16, "num_layers": 1}
    options |= {"param_dtype": jnp.float64, "head": "token"}

    def error(chosen: Haar | NoLift, coordinates: Coordinates) -> float:
        location = MLPLocation(num_radial=0)
        layer = Attention(num_heads=2, coordinates=coordinates, location=location)
        model = LieTransformer(SPACE, 4, 1, layer=layer, lift=chosen, rngs=nnx.Rngs(0), **options)
        keys = jax.random.split(jax.random.key(2), NUM_KEYS)
        num_keys = NUM_KEYS if isinstance(chosen, Haar) else 1

        @jax.jit
        def pair(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            ids = jnp.arange(len(points))
            return tuple(model(p, inputs, None, key, example_ids=ids) for p in (points, turned))

        out, moved = (np.stack(x) for x in zip(*map(pair, keys[:num_keys]), strict=True))
        return float(np.sqrt(np.mean((out - moved) ** 2)) / np.std(out.mean(0)))

    return {
        "Haar": np.array([error(Haar(n), "log") for n in NUM_SAMPLES]),
        "NoLift": np.array([error(NoLift(), "invariants")]),
    }


def draw_guarantees(ax: Axes, values: dict[str, np.ndarray]) -> None:
    """Deviation under a rotation against the number of samples."""
    n = np.array(NUM_SAMPLES)
    slope = np.polyfit(np.log(n), np.log(values["Haar"]), 1)[0]
    exact = float(values["NoLift"][0])
    ax.loglog(n, values["Haar"][0] * n**-0.5, color="#aab1ba", lw=1.5, ls=(0, (4, 3)))
    ax.loglog(n, values["Haar"], "o-", color=ACCENT, lw=2, ms=6)
    ax.loglog(n, np.full(len(n), exact), "s-", color=EXACT, lw=2, ms=5)
    text = f"Haar(n): slope {slope:.2f}".replace("-", "−") + "\n(dashed: −1/2)"
    ax.text(1.1, 0.03 * values["Haar"][0], text, color=ACCENT, fontsize=9.5, va="top")
    ax.text(1.1, 15 * exact, "NoLift, pair invariants:\nexact", color=EXACT, fontsize=9.5)
    ax.set_ylim(1e-17, 8)
    ax.set_xticks(n, [str(i) for i in n])
    ax.minorticks_off()
    ax.set_xlabel("n, samples of a point", fontsize=9.5, color=GRAY)
    ax.tick_params(labelsize=8.5, colors=GRAY, length=3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.grid(axis="y", color="#eceef1", lw=0.8)
    ax.set_axisbelow(True)
    write_title(ax, "Guarantees, measured", "RMS change of an output by rotation / its std")


def main() -> None:
    """Writes the figure."""
    jax.config.update("jax_enable_x64", True)
    mpl.use("Agg")
    figure, axes = plt.subplots(1, 4, figsize=(15, 4.3), width_ratios=(1.2, 1, 1, 1.1), dpi=150)
    figure.subplots_adjust(left=0.01, right=0.985, top=0.82, bottom=0.13, wspace=0.16)
    draw_lift(axes[0])
    draw_attention(axes[1], axes[2])
    draw_guarantees(axes[3], deviations())
    OUTPUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUTPUT, facecolor="white")


if __name__ == "__main__":
    main()
