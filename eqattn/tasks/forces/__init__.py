"""The task "forces": energies of atoms and the forces on them."""
