import pytest

from eqattn.data.atoms.records import count_records, has_marks, split_records


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("castep-cell", "%block positions_abs\nO 0 0 0\n%endblock positions_abs\n"),
        ("cif", "data_water\nloop_\n_atom_site_label\nO1\n"),
        ("cp2k-restart", " &COORD\n O 0 0 0\n &END COORD\n"),
        ("dlp-history", "timestep 1 3 0 0 0.5 1.0\nO 1\n"),
        ("dmol-car", "!DATE today\nO 0 0 0\nend\nend\n"),
        ("espresso-in", "ATOMIC_POSITIONS angstrom\nO 0 0 0\n"),
        ("gamess-us-in", " $DATA\nwater\nC1\n $END\n"),
        ("gaussian-in", "#p hf\n\nwater\n\n0 1\nO 0 0 0\n\n--Link1--\n"),
        ("gromacs", "water\n1\n    1HOH      O    1   0.1   0.0   0.0\n 5 5 5\n"),
        ("gromos", "TITLE\nEND\nPOSITION\n 1 HOH O 1 0.0 0.0 0.1\nEND\n"),
        ("lammps-dump-text", "ITEM: TIMESTEP\n0\nITEM: ATOMS\n1\n"),
        ("mol", "water\n own\n\n  1  0\n 0 0 0 O\nM  END\n"),
        ("nwchem-in", "geometry units angstrom\n O 0 0 0\nend\n"),
        ("octopus-in", "%Coordinates\n 'O' | 0 | 0 | 0\n%\n"),
        ("onetep-in", "%block positions_abs\nO 0 0 0\n%endblock positions_abs\n"),
        ("proteindatabank", "MODEL 1\nATOM      1  O\nENDMDL\n"),
        ("res", "TITL water\nO1 1 0 0 0\nEND\n"),
        ("sdf", "water\n own\n\n  1  0\n 0 0 0 O\nM  END\n$$$$\n"),
        ("turbomole", "$coord\n 0 0 0 o\n$end\n"),
        ("vasp-xdatcar", "Direct configuration=     1\n 0 0 0\n"),
    ],
)
def test_records_are_counted(kind, record):
    assert has_marks(kind)
    assert [count_records(kind, n * record) for n in (1, 2, 3)] == [1, 2, 3]


def test_what_follows_no_mark_counts_as_well():
    assert not has_marks("traj")
    assert count_records("proteindatabank", "ATOM\nEND\nATOM\nENDMDL\nCONECT\nEND\n") == 2
    assert count_records("cif", "data_global\n_journal a\ndata_water\n_atom_site_label\n") == 1
    assert count_records("gaussian-in", "a\n--link1--\nb") == 2
    assert count_records("gromacs", "a\n1\nO\n5 5 5\nrest") == 2


def test_records_are_cut_behind_their_marks():
    mol = "water\n own\n\n  1  0\n 0 0 0 O\nM  END\n"
    assert split_records(mol + mol) == [mol.removesuffix("\n")] * 2
    sdf = mol + "> <gap>\n5.0\n\n"
    assert split_records(sdf + "$$$$\n" + sdf + "$$$$\n\n") == [sdf, sdf]
