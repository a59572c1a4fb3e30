"""Tests of eqattn.data."""
