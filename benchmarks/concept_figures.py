"""Makes the figures of docs/concepts.md: ``.venv/bin/python -m benchmarks.concept_figures``.

``lift.png``: a point of the plane and the group elements over it, and a pair of elements before
and after both are moved. ``orbits.png``: one orbit under SE(2), circles under SO(2). Group elements
come from the library.
"""

from pathlib import Path

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from eqattn.groups import SE, SO
from eqattn.spaces import euclidean

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
INK, GRAY, LIGHT, ACCENT, SECOND = "#22262b", "#5d646d", "#d5d9de", "#d9480f", "#2f6fb0"
PLANE = euclidean(SE(2))


def draw_frame(ax: Axes, element: np.ndarray, color: str, alpha: float = 1.0) -> None:
    """An element of SE(2) as a dot with a long first axis and a short second one."""
    ends = np.asarray(SE(2).act(jnp.asarray(element), jnp.array([[0.0, 0], [0.75, 0], [0, 0.4]])))
    for end, width in ((ends[1], 2.0), (ends[2], 1.2)):
        style = {"arrowstyle": "-|>", "color": color, "lw": width, "alpha": alpha, "shrinkA": 0}
        ax.annotate("", end, ends[0], arrowprops=style)
    ax.plot(*ends[0], "o", color=INK, ms=5, zorder=5)


def finish(ax: Axes, title: str, x: tuple[float, float], y: tuple[float, float]) -> None:
    """A title, equal scales, and no frame."""
    ax.set(xlim=x, ylim=y, aspect="equal")
    ax.set_title(title, loc="left", fontsize=10.5, color=INK)
    ax.axis("off")


def label(ax: Axes, text: str, x: float, y: float, color: str = INK) -> None:
    """A word or a formula at a place."""
    ax.text(x, y, text, color=color, fontsize=11, ha="center", va="center")


def draw_fiber(ax: Axes) -> None:
    """The section of a point, and all elements over it."""
    point = jnp.array([2.4, 1.3])
    section = PLANE.section(point)
    for k in range(6):
        turn = SO(2).exp(jnp.array([2 * np.pi * k / 6]))
        element = SE(2).compose(section, PLANE.embed_stabilizer(turn))
        draw_frame(ax, np.asarray(element), ACCENT, 1.0 if k == 0 else 0.35)
    draw_frame(ax, np.asarray(SE(2).identity()), GRAY)
    style = {"arrowstyle": "->", "color": SECOND, "lw": 1.4, "ls": "--", "shrinkA": 6, "shrinkB": 6}
    ax.annotate("", point, (0, 0), arrowprops=style)
    label(ax, "origin $x_0$", 0.1, -0.35, GRAY)
    label(ax, "section$(x)$", 0.75, 1.0, SECOND)
    label(ax, "$x$", 2.25, 1.62)
    label(
        ax,
        "the elements over $x$:  section$(x)\\,h$,  $h\\in H=\\mathrm{SO}(2)$",
        1.9,
        2.55,
        ACCENT,
    )
    finish(ax, "Lift: group elements stand for a point", (-0.6, 4.4), (-0.7, 2.8))


def draw_pair(ax: Axes) -> None:
    """Two elements and the same two moved."""
    first = SE(2).exp(jnp.array([0.3, 0.2, 0.2]))
    second = SE(2).exp(jnp.array([1.5, 1.9, 0.0]))
    move = SE(2).compose(
        SE(2).exp(jnp.array([0.0, 3.6, 0.5])), SE(2).exp(jnp.array([0.9, 0.0, 0.0]))
    )
    pair = SE(2).compose(SE(2).inverse(first), second)
    moved = [SE(2).compose(move, g) for g in (first, second)]
    again = SE(2).compose(SE(2).inverse(moved[0]), moved[1])
    assert float(jnp.abs(pair - again).max()) < 1e-5
    for one, two in ((first, second), moved):
        places = np.array([one[2:], two[2:]])
        ax.plot(*places.T, color=LIGHT, lw=3, zorder=0)
        draw_frame(ax, np.asarray(one), ACCENT)
        draw_frame(ax, np.asarray(two), SECOND)
    label(ax, "$g$", 0.05, 0.0, ACCENT)
    label(ax, "$h$", 1.15, 1.75, SECOND)
    label(ax, "$ug$", *(moved[0][2:] + np.array([-0.1, -0.25])), ACCENT)
    label(ax, "$uh$", *(moved[1][2:] + np.array([0.4, 0.1])), SECOND)
    label(ax, "$g^{-1}h\\;=\\;(ug)^{-1}(uh)$", 1.2, 2.75)
    finish(ax, "Pair: what attention sees of two elements", (-0.4, 5.0), (-0.4, 3.1))


def draw_orbits(ax: Axes, *, has_translations: bool) -> None:
    """The orbits of the plane, and two points."""
    points = np.array([[0.8, 0.45], [-1.25, 1.0]])
    if has_translations:
        ax.add_patch(mpl.patches.Rectangle((-2, -2), 4, 4, color="#eef1f5"))
        ax.plot(*points.T, color=SECOND, lw=2)
        middle = points.mean(0)
        label(ax, "distance", middle[0] + 0.1, middle[1] + 0.3, SECOND)
    else:
        for radius in (0.45, 0.92, 1.6):
            ax.add_patch(mpl.patches.Circle((0, 0), radius, fill=False, color=LIGHT, lw=2))
        for (x, y), name in zip(points, ("$r_1$", "$r_2$"), strict=True):
            ax.plot((0, x), (0, y), color=SECOND, lw=1.5)
            label(ax, name, 0.5 * x + 0.18 * np.sign(x), 0.5 * y - 0.1, SECOND)
        ax.plot(0, 0, "+", color=GRAY, ms=9)
    for x, y in points:
        ax.plot(x, y, "o", color=ACCENT, ms=7)
    title = (
        "SE(2): the plane is one orbit" if has_translations else "SO(2): each circle is an orbit"
    )
    finish(ax, title, (-2.05, 2.05), (-2.05, 2.05))


def main() -> None:
    """Writes the figures."""
    mpl.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.1), layout="constrained", dpi=110)
    draw_fiber(left)
    draw_pair(right)
    figure.savefig(FOLDER / "lift.png", facecolor="white")
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.6, 3.2), layout="constrained", dpi=110)
    draw_orbits(left, has_translations=True)
    draw_orbits(right, has_translations=False)
    figure.savefig(FOLDER / "orbits.png", facecolor="white")


if __name__ == "__main__":
    main()
