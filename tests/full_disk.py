"""A disk that is full, for tests: no file of this process may grow beyond a size."""

import contextlib
import resource


@contextlib.contextmanager
def limited(size):
    """Has writes beyond a size in bytes fail, as on a full disk: by an error of the system."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
