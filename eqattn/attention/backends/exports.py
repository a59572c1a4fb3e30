"""Programs that are exported for sizes that are not known yet, see :mod:`jax.export`."""

from jax.export import is_symbolic_dim


def check_known_sizes(name: str, *shapes: tuple[int, ...]) -> None:
    """Makes sure that a back end which divides its work by size knows the sizes.

    Args:
      name: Name of the back end.
      *shapes: Shapes of the tokens.

    Raises:
      NotImplementedError: For symbolic sizes.
    """
    symbolic = [size for shape in shapes for size in shape if is_symbolic_dim(size)]
    if symbolic:
        raise NotImplementedError(
            f"implementation={name!r} divides its work by sizes, and has none with the "
            f"symbolic size {symbolic[0]}; use implementation='dense'"
        )
