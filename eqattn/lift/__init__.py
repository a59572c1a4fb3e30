"""Lift: from a field on a space to functions on the group, and back.

Point i gets S stabilizer samples h_ik and the elements g_ik = section(x_i) h_ik, with features
F(g_ik) = ρ(g_ik)⁻¹ f(x_i). After the lift everything is in the regular representation,
[u·F](g) = F(u⁻¹g), whatever the field type was. (LieTransformer, arXiv 2012.10885, for scalars.)
"""

from eqattn.lift.apart import by_sample, mean_over_samples, samples_apart
from eqattn.lift.base import Guarantee, Lift, Lifting, LiftInputs, StabilizerLift
from eqattn.lift.cosets import Coset, NoLift
from eqattn.lift.finite_lifts import Grid, Subgroup
from eqattn.lift.frames import Frames
from eqattn.lift.given import Given
from eqattn.lift.guarantees import check_lift, guarantee
from eqattn.lift.haar import Haar
from eqattn.lift.lifted import Lifted, spread_failures
from eqattn.lift.operations import lift, project
from eqattn.lift.prng import EVALUATION_SEED, point_keys
from eqattn.lift.weights import normalized_weights

__all__ = [
    "EVALUATION_SEED",
    "Coset",
    "Frames",
    "Given",
    "Grid",
    "Guarantee",
    "Haar",
    "Lift",
    "LiftInputs",
    "Lifted",
    "Lifting",
    "NoLift",
    "StabilizerLift",
    "Subgroup",
    "by_sample",
    "check_lift",
    "guarantee",
    "lift",
    "mean_over_samples",
    "normalized_weights",
    "point_keys",
    "project",
    "samples_apart",
    "spread_failures",
]
