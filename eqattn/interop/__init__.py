"""Bridges to other systems: models that were trained elsewhere, and runs that are used there."""
