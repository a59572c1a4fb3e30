"""Programs that measure the library, and the figure of README.md."""
