"""Tests of eqattn.spaces."""
