"""Tests of eqattn.groups."""
