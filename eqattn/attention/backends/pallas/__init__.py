"""The Pallas back end: one fused kernel for a GPU, and two for its derivatives.

See :func:`eqattn.attention.backends.pallas.attention.attend`.
"""
