"""Tests of eqattn, in the layout of the package."""

import os

# Read when NumPy and SciPy are loaded, here and in processes that tests start. Matrices of the
# suite are tiny: threads would only wait for each other, and take the cores of the other test runs.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
