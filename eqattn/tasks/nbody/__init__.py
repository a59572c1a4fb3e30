"""The task "nbody": where charged particles in space are after a thousand steps."""
