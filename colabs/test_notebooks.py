"""Every notebook runs from top to bottom. ``make notebooks`` runs this, ``make test`` does not."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parent.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(path, tmp_path):
    """In a kernel of its own, in an empty folder."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs(path):
    """So that a difference shows what was written, not what was computed."""
    cells = nbformat.read(path, as_version=4).cells
    assert [c for c in cells if c.cell_type == "code" and (c.outputs or c.execution_count)] == []
