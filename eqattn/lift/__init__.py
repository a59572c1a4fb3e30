"""Lift: from a field on a space to functions on the group, and back.

Point i gets S stabilizer samples h_ik and the elements g_ik = section(x_i) h_ik, with features
F(g_ik) = ρ(g_ik)⁻¹ f(x_i). After the lift everything is in the regular representation,
[u·F](g) = F(u⁻¹g), whatever the field type was. (LieTransformer, arXiv 2012.10885, for scalars.)
"""

from eqattn.lift.conditions import (
    Guarantee,
    check_coordinates,
    check_strategy,
    guarantee,
    pair_space,
    strategy_draws,
)
from eqattn.lift.finite import finite_elements
from eqattn.lift.lifted import Lifted, normalized_weights, spread_failures
from eqattn.lift.operations import lift, project
from eqattn.lift.prng import EVALUATION_SEED, point_keys
from eqattn.lift.sampling import fixed_stabilizers, sample_stabilizers
from eqattn.lift.strategies import Coset, Frames, Grid, Haar, NoLift, Strategy, Subgroup

__all__ = [
    "EVALUATION_SEED",
    "Coset",
    "Frames",
    "Grid",
    "Guarantee",
    "Haar",
    "Lifted",
    "NoLift",
    "Strategy",
    "Subgroup",
    "check_coordinates",
    "check_strategy",
    "finite_elements",
    "fixed_stabilizers",
    "guarantee",
    "lift",
    "normalized_weights",
    "pair_space",
    "point_keys",
    "project",
    "sample_stabilizers",
    "spread_failures",
    "strategy_draws",
]
