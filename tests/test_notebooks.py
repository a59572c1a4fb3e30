"""What is stored of the notebooks in colabs/, and how two runs of a notebook are compared.

That the notebooks run and state what is stored is tested by ``make notebooks``.
"""

import ast
import base64
import io

import nbformat
import pytest
from nbformat import v4
from PIL import Image

from tools import notebooks
from tools.notebook_outputs import MAX_PICTURE_BYTES, differences, problems
from tools.notebooks import NOTEBOOKS, scrubbed

LINE = "error 1.25 after 10 steps, change 3.0e-07"


def calls(source):
    """Names of the functions and methods that a cell calls."""
    nodes = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {getattr(node, "id", None) or getattr(node, "attr", None) for node in nodes}


def silent(notebook):
    """Ids of the cells that print or draw, and have no such output."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        is_drawn = any("image/png" in output.get("data", {}) for output in cell.outputs)
        is_printed = any(output.get("name") == "stdout" for output in cell.outputs)
        called = calls(cell.source)
        if ("show" in called and not is_drawn) or ("print" in called and not is_printed):
            found.append(cell.id)
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_a_notebook_shows_is_stored_and_nothing_else(name):
    text = NOTEBOOKS[name].read_text()
    notebook = nbformat.reads(text, as_version=4)
    assert silent(notebook) == []
    assert problems(notebook) == []
    assert nbformat.writes(scrubbed(notebook)).strip() == text.strip()


def png(width=20, height=10, color="red"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def printed(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def drawn(picture):
    return v4.new_output("display_data", {"image/png": picture, "text/plain": "<Figure>"})


def notebook_of(*outputs, source="x", **of_cell):
    """A notebook of some text, and of one cell with these outputs."""
    cell = v4.new_code_cell(source, id="cell", outputs=list(outputs), **of_cell)
    return v4.new_notebook(cells=[v4.new_markdown_cell("Text"), cell])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pictures_are_described(name):
    cells = nbformat.read(NOTEBOOKS[name], as_version=4).cells
    drawing = [cell for cell in cells if cell.cell_type == "code" and "show" in calls(cell.source)]
    assert drawing
    assert [
        c.id for c in drawing if not c.metadata.get("mystnb", {}).get("image", {}).get("alt")
    ] == []


def test_a_cell_that_shows_nothing_is_noticed():
    assert silent(notebook_of(source="x = 1")) == []
    assert silent(notebook_of(source="print(1)")) == ["cell"]
    assert silent(notebook_of(printed("1"), source="print(1)\nplt.show()")) == ["cell"]
    assert silent(notebook_of(printed("1"), drawn(png()), source="print(1)\nplt.show()")) == []


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        "error 1.26 after 10 steps, change 3.0e-07",  # one unit of the last digit
        "error  1.25  after 10 steps, change 0.0e+00",
        "error 1.25 after 10 steps, change 9.0e-06",
    ],
)
def test_the_same_statements_pass(text):
    stored = notebook_of(printed(LINE), drawn(png()))
    assert differences(stored, notebook_of(printed(text), drawn(png(color="blue")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "error 1.29 after 10 steps, change 3.0e-07",
        "error -1.25 after 10 steps, change 3.0e-07",
        "error nan after 10 steps, change 3.0e-07",
        "error 1.25 after 11 steps, change 3.0e-07",
        "error 1.25 after 10 steps, change 2.0e-05",
        "loss 1.25 after 10 steps, change 3.0e-07",
        "error 1.25 after 10 steps",
        f"{LINE}\n{LINE}",
        "",
    ],
)
def test_a_changed_statement_is_noticed(text):
    (difference, *_) = differences(notebook_of(printed(LINE)), notebook_of(printed(text)))
    assert difference.startswith("cell cell: ")


def test_a_tolerance_is_that_of_one_cell():
    stored = notebook_of(printed("loss 2.0e-02, change 2e-07"))
    for loss, is_allowed in (("3.9e-02", True), ("1.1e-02", True), ("4.3e-02", False)):
        fresh = notebook_of(printed(f"loss {loss}, change 2e-07"))
        assert (differences(stored, fresh, {"cell": 1.0}) == []) == is_allowed
        assert differences(stored, fresh, {"other": 1.0})
    worse = notebook_of(printed("loss 2.0e-02, change 2e-04"))
    assert differences(stored, worse, {"cell": 1.0})


def test_errors_of_rounding_may_grow_by_a_factor():
    stored = notebook_of(printed("4.0e-06"))
    assert differences(stored, notebook_of(printed("3.9e-05"))) == []
    assert differences(stored, notebook_of(printed("4.1e-05")))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([printed(LINE)], "not .*image/png"),
        ([printed(LINE), drawn(png(width=21))], r"\(21, 10\) pixels, not \(20, 10\)"),
        ([printed(LINE), drawn(png()), drawn(png())], "image/png"),
        ([printed(LINE), printed("UserWarning: x", "stderr"), drawn(png())], "stderr"),
        ([drawn(png()), printed(LINE)], "shows"),
        ([], "shows"),
    ],
)
def test_other_outputs_are_noticed(outputs, message):
    found = differences(notebook_of(printed(LINE), drawn(png())), notebook_of(*outputs))
    assert found
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found)


def test_a_warning_is_quoted():
    warning = printed("UserWarning: x\n", "stderr")
    found = differences(notebook_of(), notebook_of(warning))
    assert found == ["cell cell: shows ['stderr'], not []", "cell cell: UserWarning: x"]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (printed("UserWarning: x", "stderr"), "shows stderr: UserWarning: x"),
        (v4.new_output("error", ename="ValueError", evalue="x"), "shows error: ValueError: x"),
        (printed("saved in /tmp/run/x.json"), "shows an absolute path: '/tmp/run/x.json'"),
        (printed("<object at 0x7f3a2c1b>"), "shows a memory address: '0x7f3a2c1b'"),
        (printed("10%\r20%"), r"shows a carriage return: '\r'"),
        (printed("took 3.2 s"), "shows a time: '3.2 s'"),
        (printed("took 12 minutes"), "shows a time: '12 minutes'"),
        (printed("at 12:30:05"), "shows a time: '12:30:05'"),
        (printed("on 2024-02-29"), "shows a time: '2024-02-29'"),
        (
            v4.new_output("display_data", {"text/html": "<b>took 3 ms</b>"}),
            "shows a time: '3 ms'",
        ),
    ],
)
def test_what_must_not_be_stored_is_noticed(output, problem):
    assert problems(notebook_of(output)) == [f"cell cell {problem}"]


def test_large_pictures_and_traces_of_execution_are_noticed():
    large = base64.b64encode(bytes(MAX_PICTURE_BYTES + 1)).decode()
    notebook = notebook_of(drawn(large), execution_count=3, metadata={"execution": {}})
    assert problems(notebook) == [
        "cell cell has a count of executions",
        "cell cell has times of execution",
        "cell cell shows a picture of 61,441 bytes",
    ]


def test_harmless_outputs_are_stored():
    text = "300 steps of 2 systems, 3.0e-07 m/s in [0, 1], e/2, see docs/concepts.md, 8 samples"
    assert problems(notebook_of(printed(text), drawn(png()))) == []


def test_scrubbing_keeps_statements_alone():
    result = v4.new_output(
        "execute_result", {"text/plain": "1"}, execution_count=7, metadata={"needs": "light"}
    )
    notebook = notebook_of(
        result,
        drawn(png()),
        execution_count=7,
        metadata={"tags": ["hide-input"], "trusted": True, "execution": {"busy": "now"}},
    )
    notebook.metadata = nbformat.from_dict({"language_info": {"version": "3.11.7"}})
    clean = scrubbed(notebook)
    assert clean.metadata == notebooks.METADATA
    cell = clean.cells[1]
    assert (cell.execution_count, cell.metadata) == (None, {"tags": ["hide-input"]})
    assert (cell.outputs[0].execution_count, cell.outputs[0].metadata) == (None, {})
    assert differences(notebook, clean) == []
    assert notebook.cells[1].execution_count == 7  # the notebook that was given stays as it is
    assert scrubbed(clean) == clean


def test_a_notebook_with_a_warning_is_left_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "new.ipynb"
    nbformat.write(notebook_of(source="print(1)"), path)
    before = path.read_text()
    monkeypatch.setattr(notebooks, "run", lambda _: notebook_of(printed("Warning", "stderr")))
    with pytest.raises(SystemExit, match=r"new\.ipynb is left as it was:\ncell cell shows stderr"):
        notebooks.store(path)
    assert path.read_text() == before
    monkeypatch.setattr(notebooks, "run", lambda _: notebook_of(printed("1"), execution_count=1))
    notebooks.store(path)
    assert '"execution_count": null' in path.read_text()
