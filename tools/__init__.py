"""Scripts for those who work on this library; none of them is installed."""
