"""Faults that somebody thought of: those of reports, and the usual slips of such mathematics."""

from tests.mutants.energies import FAULTS as _OF_ENERGIES
from tests.mutants.faults import fault as _fault

GROUPS = ("test_laws.py", "groups")
SPACES = ("test_laws.py", "spaces", "lift")
REPRESENTATIONS = ("representations", "fields", "lift")
FIELDS = ("fields", "lift")
LIFT = ("lift", "test_equivariance.py")
ATTENTION = ("attention",)
MODELS = ("models", "layers")
KERNELS = ("kernels", "layers/steerable")
FIELD_LAYERS = ("layers/steerable",)

_ROTATION, _RIGID = "eqattn.groups.rotation", "eqattn.groups.rigid"
_STEERABLE = "eqattn.layers.steerable"
_DENSE, _CHUNKED = "eqattn.attention.backends.dense", "eqattn.attention.backends.chunked"
_NORM_SQ = "numerics.squared_norm(result)"


_OF_GROUPS = (
    _fault(
        "log of SO(3) times 0.7 above 2.5 rad",
        GROUPS,
        (
            f"{_ROTATION}.SO3.log_components",
            None,
            f"tuple(jnp.where({_NORM_SQ} > 6.25, 0.7, 1.0) * c for c in result)",
        ),
    ),
    _fault(
        "log of SO(3) times 0.9 above 3.13 rad",
        GROUPS,
        (
            f"{_ROTATION}.SO3.log_components",
            None,
            f"tuple(jnp.where({_NORM_SQ} > 3.13**2, 0.9, 1.0) * c for c in result)",
        ),
    ),
    _fault(
        "exp of SO(3) in half radians, and log in their double",
        GROUPS,
        (f"{_ROTATION}.SO3.exp_components", "numerics.squared_norm(algebra)",
         "0.25 * numerics.squared_norm(algebra)"),
        (f"{_ROTATION}.SO3.exp_components", "0.5 * numerics.sinc(half_sq)",
         "0.25 * numerics.sinc(half_sq)"),
        (f"{_ROTATION}.SO3.log_components", "2.0 * sign * ratio", "4.0 * sign * ratio"),
    ),
    _fault(
        "samples of SO(3) with uniform axis and angle",
        (*GROUPS, "lift"),
        (
            f"{_ROTATION}.SO3.sample",
            None,
            "self.exp(jax.random.uniform(key, (*shape, 1), dtype, 0.0, jnp.pi) * result[..., 1:]"
            " / jnp.linalg.norm(result[..., 1:], axis=-1, keepdims=True))",
        ),
    ),
    _fault(
        "samples of SO(2) from a quarter of the circle",
        (*GROUPS, "lift"),
        (f"{_ROTATION}.SO2.sample", "uniform_angle(key, shape, dtype)",
         "0.25 * uniform_angle(key, shape, dtype)"),
    ),
    _fault(
        "distance of SE(n) that sees translations only",
        GROUPS,
        (f"{_RIGID}._Rigid.squared_distance_components", "turn + numerics.squared_norm(t)",
         "0.0 * turn + numerics.squared_norm(t)"),
    ),
    _fault(
        "distance of SO(3) that ignores rotation_scale",
        GROUPS,
        (f"{_ROTATION}.SO3.squared_distance_components", "rotation_scale**2", "1.0"),
    ),
    _fault(
        "embedding of SO(3) by the logarithm",
        GROUPS,
        (f"{_ROTATION}.SO3.embedding_components", None, "self.log_components(g)"),
    ),
    _fault(
        "embedding of SO(3) by the quaternion",
        GROUPS,
        (f"{_ROTATION}.SO3.embedding_components", None, "g"),
    ),
    _fault(
        "sign in the product of SO(2)",
        GROUPS,
        (f"{_ROTATION}.SO2.compose_components", "g[1] * h[0] + g[0] * h[1]",
         "g[1] * h[0] - g[0] * h[1]"),
    ),
    _fault(
        "sign in the product of quaternions",
        GROUPS,
        (f"{_ROTATION}.SO3.compose_components", "w * b + x * a + y * d - z * c",
         "w * b + x * a - y * d + z * c"),
    ),
    _fault(
        "inverse of SO(3) that is the identity map",
        GROUPS,
        (f"{_ROTATION}.SO3.inverse_components", None, "g"),
    ),
    _fault(
        "sign of the translation of an inverse",
        GROUPS,
        ("eqattn.groups.affine.Affine.inverse_components", "-a", "a"),
    ),
    _fault(
        "sign in the logarithm of SE(3)",
        GROUPS,
        (f"{_RIGID}.SE3.log_components", "kept * a - 0.5 * b + along * c",
         "kept * a + 0.5 * b + along * c"),
    ),
    _fault(
        "adjoint of SE(3) with its cross product turned around",
        GROUPS,
        (f"{_RIGID}.SE3.adjoint", "cross(t, c)", "cross(c, t)"),
    ),
    _fault(
        "product with a reflection that does not conjugate",
        GROUPS,
        ("eqattn.groups.reflected.Reflected.compose_components",
         "self._conjugate(g[-1], h[:-1])", "h[:-1]"),
    ),
    _fault(
        "distance of similarities with the scale turned around",
        GROUPS,
        ("eqattn.groups.similarity._Similarity.squared_distance_components",
         "jnp.exp(-linear[-1])", "jnp.exp(linear[-1])"),
    ),
    _fault(
        "quaternions of one element told apart by log",
        GROUPS,
        (f"{_ROTATION}.SO3.log_components", "canonical_sign(g)", "jnp.ones_like(w)"),
    ),
    _fault(
        "matrix of SO(2) transposed",
        GROUPS,
        (f"{_ROTATION}.SO2.matrix", None, "jnp.swapaxes(result, -1, -2)"),
    ),
    _fault(
        "roots that are wrong near zero: a larger epsilon",
        ("test_numerics.py", *GROUPS),
        ("eqattn.numerics.safe_sqrt", "1e-24", "1e-4"),
        ("eqattn.numerics.safe_sqrt", "1e-150", "1e-4"),
    ),
    _fault(
        "NaN becomes 0 under a root",
        ("test_numerics.py",),
        ("eqattn.numerics.safe_sqrt", "x <= smallest", "~(x > smallest)"),
    ),
    _fault(
        "geometry in bfloat16",
        ("groups", "attention"),
        ("eqattn.numerics.at_least_float32", "jnp.finfo(x.dtype).bits < 32",
         "jnp.finfo(x.dtype).bits < 16"),
    ),
)  # fmt: skip

_OF_SPACES = (
    _fault(
        "a sphere with a trivial stabilizer",
        SPACES,
        ("eqattn.spaces.sphere.Sphere._stabilizer", None, "Trivial(self.point_dim)"),
        ("eqattn.spaces.sphere.Sphere.embed_stabilizer", None,
         "self.group.identity(elements.shape[:-1], elements.dtype)"),
    ),
    _fault(
        "samples of the stabilizer that are the identity",
        SPACES,
        ("eqattn.spaces.base.Space.sample_stabilizer", None,
         "self.group.identity((), result.dtype)"),
    ),
    _fault(
        "pair invariants that are constant",
        SPACES,
        ("eqattn.spaces.euclidean.AffineSpace.pair_invariants",
         "self.base_distance_components(pair, (), ())",
         "0.0 * self.base_distance_components(pair, (), ())"),
    ),
    _fault(
        "the section of the sphere with one sign wrong in the south",
        SPACES,
        ("eqattn.spaces.sphere.Sphere.section",
         "jnp.stack([-y / norm, half, zero, x / norm, *one], -1)",
         "jnp.stack([-y / norm, half, zero, -x / norm, *one], -1)"),
    ),
    _fault(
        "distance under rotations without the radii",
        SPACES,
        ("eqattn.spaces.radial.RadialSpace.squared_distance_components",
         "r * s * self._sphere.chord_components(pair)", "self._sphere.chord_components(pair)"),
    ),
    _fault(
        "orientations that do not turn",
        SPACES,
        ("eqattn.spaces.position_orientation.PositionOrientation.act",
         "self.group.linear.act(turn, n)", "n"),
    ),
    _fault(
        "radius of the punctured plane turned around",
        SPACES,
        ("eqattn.spaces.radial.PuncturedPlane.section",
         "jnp.log(jnp.where(radius <= 0, 1.0, radius))",
         "-jnp.log(jnp.where(radius <= 0, 1.0, radius))"),
    ),
    _fault(
        "pairs as g_i g_j⁻¹",
        ("spaces", "attention"),
        ("eqattn.spaces.base.Space.pair",
         "self.group.compose_components(self.group.inverse_components(query), key)",
         "self.group.compose_components(query, self.group.inverse_components(key))"),
    ),
)  # fmt: skip

_OF_FIELDS = (
    _fault(
        "pseudotensors without their sign",
        REPRESENTATIONS,
        ("eqattn.representations.natural.Tensor.of_linear", None, "out"),
    ),
    _fault(
        "irreps transposed",
        REPRESENTATIONS,
        ("eqattn.representations.natural.Irrep.of_linear", None, "jnp.swapaxes(result, -1, -2)"),
    ),
    _fault(
        "scale weights turned around",
        FIELDS,
        ("eqattn.fields.types.Term.matrix", "self.weight * log_scale", "-self.weight * log_scale"),
    ),
    _fault(
        "fields never transformed back",
        FIELDS,
        ("eqattn.fields.action.GroupAction.element",
         "self.space.group.inverse(self.elements) if self.inverse else self.elements",
         "self.elements"),
    ),
    _fault(
        "gauge fields with the cocycle of the inverse",
        FIELDS,
        ("eqattn.fields.action.GroupAction.in_gauge",
         "group.compose(group.inverse(section(images)), moved)",
         "group.inverse(group.compose(group.inverse(section(images)), moved))"),
    ),
)  # fmt: skip

_OF_LIFTS = (
    _fault(
        "features lifted by ρ in place of its inverse",
        LIFT,
        ("eqattn.lift.operations.lift", "True", "False"),
    ),
    _fault(
        "stabilizer samples on the left of the section",
        LIFT,
        ("eqattn.lift.base.StabilizerLift.elements",
         "space.group.compose(section, samples.astype(section.dtype))",
         "space.group.compose(samples.astype(section.dtype), section)"),
    ),
    _fault(
        "draws that all examples share, whatever their ids",
        ("lift", "models"),
        ("eqattn.lift.prng.point_keys", "jax.random.fold_in(key, example_id)", "key"),
    ),
    _fault(
        "draws that all points of an example share",
        ("lift", "models"),
        ("eqattn.lift.prng.point_keys", "jax.random.fold_in(example_key, i)",
         "jax.random.fold_in(example_key, 0 * i)"),
    ),
    _fault(
        "samples of a point that count whole each",
        ("lift", "models", "test_equivariance.py"),
        ("eqattn.lift.operations.lift", "jnp.log(jnp.asarray(elements.shape[-2], dtype))",
         "jnp.zeros((), dtype)"),
    ),
    _fault(
        "masked points that count in means",
        ("lift", "models", "layers"),
        ("eqattn.lift.weights.normalized_weights", "mask & (log_weights != -jnp.inf)",
         "jnp.ones_like(mask) & (log_weights != -jnp.inf)"),
    ),
    _fault(
        "one frame in place of all signs",
        LIFT,
        ("eqattn.lift.frames.principal_axes", "jnp.asarray(signs, points.dtype)",
         "jnp.asarray(signs[:1], points.dtype)"),
    ),
    _fault(
        "one frame in place of their average",
        ("lift", "models"),
        ("eqattn.lift.apart.mean_over_samples", "jnp.mean(out, axis=lifted.mask.ndim - 1)",
         "out[..., 0, :]"),
    ),
    _fault(
        "fields from cosets without the inverse of their mean",
        LIFT,
        ("eqattn.lift.cosets.Coset.restored", "inverse @ fixed", "fixed"),
    ),
    _fault(
        "failures that stay in their point",
        ("lift", "models"),
        ("eqattn.lift.lifted.spread_failures", None, "lifted"),
    ),
)  # fmt: skip

_OF_ATTENTION = (
    _fault(
        "masks ignored in chunked",
        ATTENTION,
        (f"{_CHUNKED}._tile", "dense.pair_terms(queries, keys, terms)",
         "dense.pair_terms(queries, keys._replace(valid=jnp.ones_like(keys.valid)), terms)"),
    ),
    _fault(
        "log-weights ignored in chunked",
        ATTENTION,
        (f"{_CHUNKED}._tile", "dense.pair_terms(queries, keys, terms)",
         "dense.pair_terms(queries, keys._replace(log_weights=0.0 * keys.log_weights), terms)"),
    ),
    _fault(
        "log-weights ignored in dense",
        ATTENTION,
        (f"{_DENSE}.attend", "pair_terms(queries, keys, terms)",
         "pair_terms(queries, keys._replace(log_weights=0.0 * keys.log_weights), terms)"),
    ),
    _fault(
        "tiles merged by the scales of the others",
        ATTENTION,
        (f"{_CHUNKED}._merge", "jnp.exp(a.top - top)", "jnp.exp(b.top - top)"),
    ),
    _fault(
        "masks ignored in folded",
        ATTENTION,
        ("eqattn.attention.backends.folded._attend", "keys.valid", "jnp.ones_like(keys.valid)"),
    ),
    _fault(
        "weights of neighborhoods ignored",
        ATTENTION,
        ("eqattn.attention.backends.key_tokens.gather", "neighborhood.weights",
         "jnp.ones_like(neighborhood.weights)"),
    ),
    _fault(
        "images seen where their points are",
        ("attention/test_moved_keys.py", "models/test_cells.py"),
        ("eqattn.attention.listed.list_to_neighborhood", "moves is not None", "False"),
    ),
    _fault(
        "cells whose columns are lattice vectors",
        ("neighbors", "attention/test_moved_keys.py"),
        ("eqattn.neighbors.lists.NeighborList.vectors",
         "jnp.sum(self.shifts[..., None].astype(cells.dtype) * cells, axis=-2)",
         "jnp.sum(self.shifts[..., None, :].astype(cells.dtype) * cells, axis=-1)"),
    ),
    _fault(
        "differences from neighbors, not to them",
        ("models/test_cells.py",),
        ("eqattn.layers.steerable.attention.FieldAttention.__call__",
         "moved - places.positions[..., None, :]", "places.positions[..., None, :] - moved"),
    ),
    _fault(
        "strains that leave the cell",
        ("models/test_cells.py",),
        ("eqattn.models.potential.PotentialNetwork.energies_forces_and_stresses",
         "dataclasses.replace(neighbors, cells=cells)", "neighbors"),
    ),
    _fault(
        "lists that are kept while points move by a whole skin",
        ("neighbors",),
        ("eqattn.neighbors.verlet.VerletList.is_outdated", "2.0 * moved", "moved"),
    ),
    _fault(
        "points outside of the cell without the shifts that bring them in",
        ("neighbors",),
        ("eqattn.neighbors.search._by_bins",
         "shifts + (wraps[receivers] - wraps[senders]).astype(np.int64)", "shifts"),
    ),
    _fault(
        "balls with a kink at their surface",
        ATTENTION,
        ("eqattn.attention.neighborhoods.find_neighbors", "(1.0 - ratio_sq) ** 3",
         "(1.0 - ratio_sq)"),
    ),
    _fault(
        "dot products without their scale",
        ATTENTION,
        ("eqattn.attention.terms.content.DotProduct.__call__",
         "logits / _sqrt_channels(query, logits)", "logits"),
    ),
    _fault(
        "queries turned by σ in place of its dual",
        ATTENTION,
        ("eqattn.attention.representation_attention.representation_attend",
         "representation.apply_dual", "representation.apply"),
    ),
    _fault(
        "values of representation attention not turned back",
        ATTENTION,
        ("eqattn.attention.representation_attention.representation_attend",
         "representation.apply_inverse(group, rows, out)", "out"),
    ),
    _fault(
        "keys of no weight that are attended to",
        ATTENTION,
        ("eqattn.attention.inputs.validity", "valid & (log_weights != -jnp.inf)", "valid"),
    ),
    _fault(
        "kept points without the weight of their cells",
        ATTENTION,
        ("eqattn.attention.subsampling.subsample", "jnp.where(chosen.mask, gain, 0.0)",
         "jnp.where(chosen.mask, 0.0 * gain, 0.0)"),
    ),
    _fault(
        "keys hidden where a logit is -inf",
        ATTENTION,
        ("eqattn.numerics.spread_infinities", None, "x"),
    ),
    _fault(
        "Bernstein polynomials of a degree too low",
        ATTENTION,
        ("eqattn.attention.terms.value_basis.BernsteinBasis.__call__", "self.num_basis + 2",
         "self.num_basis + 1"),
    ),
)  # fmt: skip

_OF_MODELS = (
    _fault(
        "blocks without their residual",
        MODELS,
        ("eqattn.layers.block.TransformerBlock._residual", "x + branch(norm(x).astype(x.dtype))",
         "branch(norm(x).astype(x.dtype))"),
    ),
    _fault(
        "sums that are means",
        MODELS,
        ("eqattn.layers.pooling.pool", "jnp.exp(jnp.where(valid, lifted.log_weights, 0.0))",
         "jnp.exp(jnp.where(valid, lifted.log_weights, 0.0)) / lifted.mask.shape[-1]"),
    ),
    _fault(
        "lifts that are averaged over one key",
        MODELS,
        ("eqattn.models.lifts.mean_over_lifts", "jax.random.fold_in(key, i)",
         "jax.random.fold_in(key, 0 * i)"),
    ),
    _fault(
        "forces uphill",
        ("models",),
        ("eqattn.models.hamiltonian.HamiltonianNetwork._forces", "-jax.grad(total)(positions)",
         "jax.grad(total)(positions)"),
    ),
    _fault(
        "positions that are centered with masked particles",
        ("models",),
        ("eqattn.numerics.centered", None, "positions - jnp.mean(positions, -2, "
         "keepdims=True)"),
    ),
    _fault(
        "a stage of Runge and Kutta with one coefficient wrong",
        ("models/test_integrators.py",),
        ("eqattn.models.integrators._STAGES", "(-1 / 3, 1.0, 0.0, 0.0)", "(1 / 3, 1.0, 0.0, 0.0)"),
    ),
    _fault(
        "a kick of half its length",
        ("models/test_integrators.py",),
        ("eqattn.models.integrators.StormerVerlet.advance", "momenta + step * push(halfway)",
         "momenta + 0.5 * step * push(halfway)"),
    ),
)  # fmt: skip

_OF_FIELD_LAYERS = (
    _fault(
        "kernels that turn against their harmonics",
        KERNELS,
        ("eqattn.kernels.solver._solve", "np.kron(np.kron(b, a), y)",
         "np.kron(np.kron(b, a), y.T)"),
    ),
    _fault(
        "harmonics of the plane that reflections only turn",
        KERNELS,
        ("eqattn.representations.harmonics._planar", "determinant * c", "c"),
        ("eqattn.representations.harmonics._planar", "-determinant * s", "-s"),
    ),
    _fault(
        "a harmonic of degree 2 with one coefficient wrong",
        ("representations", *KERNELS),
        ("eqattn.representations.harmonics._legendre", "degree + order - 1", "degree + order"),
    ),
    _fault(
        "matrices of a pair that need not know its key",
        ("kernels",),
        ("eqattn.kernels.solver.pair_homomorphisms",
         "np.kron(np.eye(b.shape[0]), a.T)", "np.kron(np.eye(b.shape[0]), np.eye(a.shape[0]))"),
    ),
    _fault(
        "kernels of differences turned around",
        ("attention", *FIELD_LAYERS),
        ("eqattn.attention.terms.harmonics.HarmonicBasis.__call__", "x / size", "-x / size"),
    ),
    _fault(
        "harmonics that grow without bound",
        ("attention", *FIELD_LAYERS),
        ("eqattn.attention.terms.harmonics.HarmonicBasis.__call__", "x / size", "x"),
    ),
    _fault(
        "an envelope with a kink at its cutoff",
        ATTENTION,
        ("eqattn.attention.terms.location.SmoothEnvelope.__call__", "inside * inside * inside",
         "inside"),
    ),
    _fault(
        "an envelope that goes on beyond its cutoff",
        ATTENTION,
        ("eqattn.attention.terms.location.SmoothEnvelope.__call__",
         "jnp.where(ratio >= 1.0, beyond, 1.0 - ratio)", "beyond + 1.0 - ratio"),
    ),
    _fault(
        "data of pairs taken to the first keys in neighborhoods",
        FIELD_LAYERS,
        ("eqattn.models.neighbor_lists.neighborhood_of_points",
         "jnp.take_along_axis(pair_data, indices, axis=-2, mode='clip')",
         "pair_data[..., : indices.shape[-2], :]"),
    ),
    _fault(
        "fields of masked points that are not zeros",
        FIELD_LAYERS,
        (f"{_STEERABLE}.attention.FieldAttention.__call__",
         "jnp.where(places.mask[..., None, None], x, 0)", "x"),
    ),
    _fault(
        "sums of positions that are not centered",
        FIELD_LAYERS,
        (f"{_STEERABLE}.attention.FieldAttention._positions",
         "centered(at_least_float32(places.positions), places.mask)",
         "at_least_float32(places.positions)"),
    ),
    _fault(
        "an activation of the components of fields",
        FIELD_LAYERS,
        (f"{_STEERABLE}.mlp.FieldMLP.__call__",
         "u * gates[..., None, start:start + u.shape[-1]]",
         "jax.nn.relu(u) * gates[..., None, start:start + u.shape[-1]]"),
    ),
    _fault(
        "products bounded component by component",
        FIELD_LAYERS,
        (f"{_STEERABLE}.mlp._bounded", "jnp.mean(wide_u**2 + wide_v**2, axis=-2, keepdims=True)",
         "wide_u**2 + wide_v**2"),
    ),
    _fault(
        "norms of each component by itself",
        FIELD_LAYERS,
        (f"{_STEERABLE}.norm.BoundedNorm.__call__",
         "jnp.mean(wide**2, axis=(-2, -1), keepdims=True)",
         "jnp.mean(wide**2, axis=-1, keepdims=True)"),
    ),
    _fault(
        "biases of vectors",
        FIELD_LAYERS,
        (f"{_STEERABLE}.linear.FieldLinear.__call__",
         "next(linears)(jnp.concatenate(inputs, -1) if inputs[1:] else inputs[0])",
         "next(linears)(jnp.concatenate(inputs, -1) if inputs[1:] else inputs[0]) + 0.1"),
    ),
    _fault(
        "components of a field dropped one by one",
        FIELD_LAYERS,
        (f"{_STEERABLE}.block.field_dropout", "jnp.where(keep, x / (1 - rate), 0)",
         "jnp.where(jnp.logical_xor(keep, jnp.arange(x.shape[-2])[:, None] == 1), "
         "x / (1 - rate), 0)"),
    ),
    _fault(
        "the position on a sphere left out",
        FIELD_LAYERS,
        ("eqattn.models.field_network.FieldNetwork._apply", "place[..., None]",
         "0.0 * place[..., None]"),
    ),
    _fault(
        "training frames that are always the first",
        ("models/test_frames.py", "lift"),
        ("eqattn.lift.frames.Frames.elements", "_some(frames, keys[..., 1], self.training_frames)",
         "frames[..., : self.training_frames, :]"),
    ),
    _fault(
        "charges that attract their like",
        ("tasks/nbody",),
        ("eqattn.tasks.nbody.data._integrator.run.step",
         "STEP * jnp.clip(forces, -LARGEST_FORCE, LARGEST_FORCE)",
         "-STEP * jnp.clip(forces, -LARGEST_FORCE, LARGEST_FORCE)"),
    ),
    _fault(
        "velocities of bodies that are not of the published length",
        ("tasks/nbody",),
        ("eqattn.tasks.nbody.data._draw",
         "velocities * _SPEED / np.sqrt((velocities**2).sum(axis=0))", "velocities * _SPEED"),
    ),
    _fault(
        "initial numbers from the end of a row",
        ("test_initial.py",),
        ("eqattn.initial._first", "jax.device_get(row)[:size]", "jax.device_get(row)[-size:]"),
    ),
)  # fmt: skip

_OF_RUNS = (
    _fault(
        "runs that go on with fresh parameters",
        ("train/test_resume.py",),
        ("eqattn.train.loop.resume", "from_named(compiled.state, checkpoint.arrays, where)",
         "compiled.state"),
    ),
    _fault(
        "an order of the data that forgets the number of the pass",
        ("tasks/molecules/test_batches.py", "data/test_labeled_batches.py"),
        ("eqattn.data.streams.order_of_pass", "random_state(*seed)",
         "random_state(*seed[:-1])"),
    ),
    _fault(
        "labels that are not known with a loss",
        ("tasks/molecules/test_task.py",),
        ("eqattn.tasks.molecules.labels.absolute_errors", "jnp.asarray(batch['known'])",
         "jnp.ones_like(jnp.asarray(batch['known']))"),
    ),
    _fault(
        "checksums that are read and not compared",
        ("train/test_checkpoints.py",),
        ("eqattn.train.checksums.verify_checksums", "held != expected", "False"),
    ),
    _fault(
        "times that are cast before their differences",
        ("models/test_intervals.py", "models/test_hamiltonian.py"),
        ("eqattn.models.intervals._to_numbers", "values.astype(np.float64)",
         "values.astype(np.float32)"),
    ),
    _fault(
        "exponents of Mathematica read as none",
        ("data/test_text.py", "data/atoms/test_xyz.py"),
        ("eqattn.data.text.to_float", "_EXPONENT.sub('e', word)",
         "word.partition('*')[0].replace('D', 'e').replace('d', 'e')"),
    ),
    _fault(
        "digit groups of Python taken for numbers",
        ("data/test_text.py", "data/atoms/test_xyz.py"),
        ("eqattn.data.text.to_float", "not _NUMBER.fullmatch(word)", "False"),
    ),
    _fault(
        "molecules that are cast before they are centered",
        ("tasks/molecules/test_batches.py", "tasks/molecules/test_inputs.py"),
        ("eqattn.data.atoms.configurations.Configurations.centered_positions", None, "result + "
         "(self.positions.astype(np.float32) - self.positions)"),
    ),
    _fault(
        "dipoles about the origin",
        ("models/test_atom_sum.py",),
        ("eqattn.models.atom_sum.AtomSum.__call__",
         "numerics.centered(numerics.at_least_float32(jnp.asarray(points)), mask)",
         "numerics.at_least_float32(jnp.asarray(points))"),
    ),
    _fault(
        "a centroid of padding too",
        ("models/test_atom_sum.py",),
        ("eqattn.numerics.mean_position",
         "xp.sum(xp.where(mask, positions, 0), axis=-2, keepdims=True)",
         "xp.sum(positions, axis=-2, keepdims=True)"),
    ),
    _fault(
        "references of the elements that are not put back",
        ("tasks/molecules/test_sums.py",),
        ("eqattn.tasks.molecules.constants.formula_sums", None, "0.0 * result"),
    ),
    _fault(
        "labels of atoms that go to other atoms",
        ("tasks/molecules/test_batches.py", "tasks/molecules/test_own_data.py"),
        ("eqattn.data.atoms.padding.bucket_tables", "array[of_chosen]", "array[of_chosen][::-1]"),
    ),
    _fault(
        "predictions in units of the standard deviation",
        ("tasks/core/test_standardization.py", "tasks/molecules/test_task.py"),
        ("eqattn.tasks.core.standardization.unstandardize",
         "np.asarray(values, np.float64) * scale + mean", "np.asarray(values, np.float64)"),
    ),
    _fault(
        "a stop without its checkpoint",
        ("train/test_interruption.py", "test_cli_runs.py"),
        ("eqattn.train.run.Run.stop_if_asked", "self.checkpoint()", "None"),
    ),
    _fault(
        "files written in their place",
        ("test_files.py", "train"),
        ("eqattn.files.written_aside",
         "path.with_name(f'{path.name}.{os.getpid()}{ASIDE_SUFFIX}')", "path"),
    ),
)  # fmt: skip

_OF_SPECIFICATIONS = (
    _fault(
        "texts of which the last of two options wins",
        ("test_specification.py",),
        ("eqattn.specification._call", "len(named) < len(node.keywords)", "False"),
    ),
    _fault(
        "full texts that leave defaults out",
        ("test_specification.py",),
        ("eqattn.specification.Named.full_text", None, "self._text(is_full=False)"),
    ),
    _fault(
        "names of the library that anybody may take",
        ("test_specification.py",),
        ("eqattn.specification.nameable", "holder.__module__ != maker.__module__", "False"),
    ),
    _fault(
        "cosets of which layers see embeddings",
        ("lift/test_cosets.py",),
        ("eqattn.lift.base.Lift.stands_for_cosets", None, "False"),
    ),
    _fault(
        "coordinates of a layer that the lift overrules",
        ("lift/test_own_lift.py", "models/test_lie_transformer.py"),
        ("eqattn.layers.group_layer.PairLayer.on_lift",
         "self.coordinates or lift.default_coordinates(pair_space)",
         "lift.default_coordinates(pair_space)"),
    ),
)  # fmt: skip

FAULTS = (
    *_OF_GROUPS,
    *_OF_SPACES,
    *_OF_FIELDS,
    *_OF_LIFTS,
    *_OF_ATTENTION,
    *_OF_MODELS,
    *_OF_FIELD_LAYERS,
    *_OF_SPECIFICATIONS,
    *_OF_RUNS,
    *_OF_ENERGIES,
)
"""All of them."""
