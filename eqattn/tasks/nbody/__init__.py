"""The task "nbody"."""
