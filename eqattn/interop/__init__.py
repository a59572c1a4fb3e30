"""Bridges to other systems: models that were trained elsewhere."""
