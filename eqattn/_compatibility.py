"""Versions of jaxlib that must not be used, named when the package is imported."""

import warnings

_MISCOMPILING = ("0.10.2",)


def _warn_if_miscompiling(version: str) -> None:
    """Warns if that jaxlib returns wrong results for what this library computes.

    On CPU, 0.10.2 silently miscompiles a vmapped matrix-vector product followed by a reduction
    (jax issue 39103) beyond some ten thousand rows. The requirements exclude it; a ``pip install``
    of something else may still bring it in.

    Args:
      version: ``jaxlib.__version__``.
    """
    if version in _MISCOMPILING:
        warnings.warn(
            f"jaxlib {version} silently returns wrong results on CPU (jax issue 39103); "
            "install jax and jaxlib 0.10.1, or 0.11 on Python 3.12 and later",
            RuntimeWarning,
            stacklevel=3,  # the import of eqattn
        )
