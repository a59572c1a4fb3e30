"""Tests of eqattn, in the layout of the package."""
