"""What docs/simulations.md says is done: its commands, and its lines of Python, in one folder."""

import json
import re
import shlex

import numpy as np
import pytest

from eqattn.cli import main
from eqattn.data.atoms import read_configurations, write_xyz
from tests.pages import ROOT
from tests.tasks.forces.springs import springs

PAGE = (ROOT / "docs" / "simulations.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.DOTALL)
SMALL = (
    "--steps 20 --eval-every 10 --model.atoms.dim 8 --model.atoms.num-layers 1 "
    "--model.atoms.layer.num-heads 2 --options.baseline none"
)


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, capsys, no_type_checks):
    """With a small model, which is trained for a moment on molecules with sulfur."""
    pytest.importorskip("ase")
    monkeypatch.chdir(tmp_path)
    write_xyz("mine.extxyz", springs(200, num_trajectories=20))
    write_xyz("new.xyz", springs(3, seed=1))
    write_xyz("start.xyz", springs(1, seed=2))
    names: dict = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "simulations.md", "exec"), names)  # lines of this repository
            continue
        for line in text.splitlines():
            words = shlex.split(line + (f" {SMALL}" if " train " in line else ""))[1:]
            assert main(words) == 0, capsys.readouterr().err
    assert len(read_configurations("found.extxyz")) == 3
    assert len(read_configurations("start-trajectory.extxyz")) == 101
    assert len(names["trajectory"]) == 101
    assert np.isfinite(names["energies"]).all()
    assert names["forces"].shape == (1, 4, 3)
    assert names["stress"].shape == (1, 6)
    assert np.isfinite(names["stress"]).all()
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert json.loads(printed[2])["picoseconds"] == 1.0
