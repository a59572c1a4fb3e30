"""Runs notebooks of colabs/ and stores what they show: ``python -m tools.notebooks [NAME ...]``.

Each notebook runs from top to bottom in a kernel of its own, in an empty folder, on the CPU, and
without the settings of whoever runs it. Counts and times of execution, versions and metadata
depend on the run and the machine, and are not stored. A notebook that shows a warning, a path or a
time is not stored at all, because its cause must be mended.

``make notebooks`` runs the notebooks again, and compares what they show with what is stored.
"""

import argparse
import base64
import copy
import io
import os
import tempfile
from pathlib import Path

import nbformat
from matplotlib import font_manager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from tools.notebook_outputs import problems

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "colabs").glob("*.ipynb"))}
SECONDS_PER_CELL = 600
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What the documentation reads: cells that it folds, and what pictures show, in words.
CELL_METADATA = ("mystnb", "tags")
# Figures get the size that they ask for; by default it would depend on how far labels reach. The
# log of the kernel itself, which is no output of a notebook, warns of how it is connected.
KERNEL_SETTINGS = """
c.InlineBackend.print_figure_kwargs = {"bbox_inches": None}
c.IPKernelApp.log_level = "ERROR"
"""
_NUM_COLORS = 256


def run(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook as it is after a run, and leaves the one that is given as it is.

    Args:
      notebook: Notebook that is run; its own outputs do not matter.

    Raises:
      nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    fresh = copy.deepcopy(notebook)
    font_manager.get_font_names()  # the first use of matplotlib on a machine may warn; it is here
    with tempfile.TemporaryDirectory() as settings, tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            fresh,
            timeout=SECONDS_PER_CELL,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,  # else two prints may arrive together or not
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=_environment(Path(settings)))
    return fresh


def _environment(settings: Path) -> dict[str, str]:
    """The variables that a kernel sees: nobody's settings, and the eqattn of this checkout."""
    profile = settings / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text(KERNEL_SETTINGS)
    (settings / "matplotlibrc").touch()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_", "XLA_", "PYTHON", "MPL"))
    }
    return kept | {
        "IPYTHONDIR": str(settings),
        "JAX_PLATFORMS": "cpu",
        "MATPLOTLIBRC": str(settings / "matplotlibrc"),
        "PYTHONPATH": str(ROOT),
    }


def scrubbed(notebook: NotebookNode) -> NotebookNode:
    """Returns a notebook without what depends on the run or the machine.

    Args:
      notebook: Notebook after a run.
    """
    clean = copy.deepcopy(notebook)
    clean.metadata = NotebookNode(METADATA)
    for cell in clean.cells:
        kept = {key: value for key, value in cell.metadata.items() if key in CELL_METADATA}
        cell.metadata = NotebookNode(kept)
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = None
            if "metadata" in output:
                output.metadata = NotebookNode()
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _smaller(output.data["image/png"])
    return clean


def _smaller(picture: str) -> str:
    """Returns a PNG with a palette of its colors, and without the versions that made it.

    Args:
      picture: The PNG in base64, with all colors or with a palette.
    """
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "P":
        return picture
    file = io.BytesIO()
    palette = image.convert("RGB").quantize(_NUM_COLORS, dither=Image.Dither.NONE)
    palette.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def store(path: Path) -> None:
    """Runs a notebook, and writes it with its outputs.

    Args:
      path: File of the notebook, which is replaced.

    Raises:
      SystemExit: If an output is one that must not be stored.
    """
    notebook = scrubbed(run(nbformat.read(path, as_version=4)))
    if wrong := problems(notebook):
        raise SystemExit("\n".join([f"{path.name} is left as it was:", *wrong]))
    nbformat.write(notebook, path)


def main() -> None:
    """Stores the outputs of the notebooks that are named, or of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(NOTEBOOKS)}")
    names = parser.parse_args().names
    if unknown := set(names) - set(NOTEBOOKS):
        parser.error(f"no such notebook: {', '.join(sorted(unknown))}")
    for name in names or NOTEBOOKS:
        store(NOTEBOOKS[name])
        print(f"{name}: stored, {NOTEBOOKS[name].stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
