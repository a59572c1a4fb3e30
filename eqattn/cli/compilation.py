"""Compiled programs that a command leaves for the next one."""

from eqattn.data.cache import cache_folder

__all__ = ["keep_compiled_programs"]


def keep_compiled_programs() -> None:
    """Lets jax keep what it compiles, in the folder for caches, so that a repeat starts at once.

    Not on a CPU: there XLA warns that a kept program may be for another machine, and compiles
    quickly anyway. A folder that the user has set (``JAX_COMPILATION_CACHE_DIR``) stays, and
    ``JAX_ENABLE_COMPILATION_CACHE=false`` switches it off.
    """
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is None and jax.default_backend() != "cpu":
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
