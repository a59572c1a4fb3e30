"""The models of Sweet Home 3D, on archives made here, and the files that are made of them."""

import hashlib
import json
import zipfile

import numpy as np
import pytest

from eqattn.tasks.shapes.data import EMBEDDED_PATH, load
from tools.make_shapes import make
from tools.sweethome3d import (
    ARCHIVES,
    CLASSES,
    CORRECTIONS,
    SERIES,
    classify,
    read_models,
    series,
)

# A tall tetrahedron with y up, and the rotation that stands it up where it lies along z.
TALL = "v 0 0 0\nv 1 0 0\nv 0 9 0\nv 0 0 1\nf 1 2 3\nf 1 3 4\nf 1 2 4\nf 2 3 4\n"
LYING = "v 0 0 0\nv 1 0 0\nv 0 0 -9\nv 0 1 0\nf 1 2 3\nf 1 3 4\nf 1 2 4\nf 2 3 4\n"
STAND_UP = "1 0 0 0 0 -1 0 1 0"

TEXT_LICENSE = """Thank you for downloading "Country-Kitchen" by Someone
Released under
{}
Downloaded from http://www.blendswap.com/blends/view/42
"""
HTML_LICENSE = """<h1>Blend #43</h1> released under
<a href="https://creativecommons.org/licenses/by/3.0/">Creative&#32;Commons Attribution 3.0</a>
<a href="https://www.blendswap.com/blends/view/43">here</a>"""


def write_archive(path, *models, licenses=()):
    """Models are (name, catalog/folder, author, text, rotation or None)."""
    lines = ["# a catalog"]
    with zipfile.ZipFile(path, "w") as file:
        for number, (name, folder, author, text, rotation) in enumerate(models, start=1):
            member = f"{folder}/{folder.rpartition('/')[2]}.obj"
            lines += [f"name#{number}={name}", f"model#{number}=/{member}"]
            lines += [f"creator#{number}={author}\r"]
            if rotation:
                lines.append(f"modelRotation#{number}={rotation}")
            file.writestr(member, text)
        for name, text in licenses:
            file.writestr(name, text)
        catalog = "\n".join(lines)
        file.writestr("PluginFurnitureCatalog.properties", catalog.encode("latin-1"))
    return path


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Armchair", "sofa"),
        ("Baby high chair", "chair"),
        ("Wheelchair", None),
        ("Table tennis bat", None),
        ("Bedside table", "cabinet"),
        ("Glass table", "table"),
        ("Glass", "vessel"),
        ("Glass door", "door or window"),
        ("Glass door cabinet", "cabinet"),
        ("Outdoor lamp", "lamp"),
        ("Pedestal vase lamp", "lamp"),
        ("Wall spotlight", "lamp"),
        ("Flashlight", None),
        ("Indoor plant", "plant"),
        ("Indoor bike", None),
        ("Bush", "plant"),
        ("City bus", "car"),
        ("Opened convertible sofa BZ", None),
        ("Sitting female", "person"),
        ("Coffee machine", None),
        ("Doormat", None),
    ],
)
def test_classes_of_names(name, label):
    assert classify(name, "somewhere/else") == label


def test_a_name_of_two_classes():
    with pytest.raises(
        ValueError, match=r"'Chair with table' \(a/b\) is of two classes: chair and"
    ):
        classify("Chair with table", "a/b")


def test_corrections_come_first():
    assert classify("Armchair", "blendswap-cc-0/armchair") == "chair"
    assert classify("Stove", "blendswap-cc-0/stove") is None
    assert classify("Stove", "elsewhere/stove") == "appliance"
    assert {label for label in CORRECTIONS.values() if label} <= CLASSES.keys()


def test_series():
    assert series("scopia/pine") == series("scopia/pineSnow")
    assert series("scopia/pine") != series("scopia/pines")
    assert series("scopia/bed1") == "scopia/bed1"
    assert series("blendswap-cc-0/upperShelves") == series("blendswap-cc-0/sinkCabinet")


def test_every_entry_of_the_tables_is_met():
    """In the list of the models that were made into shapes."""
    path = EMBEDDED_PATH.with_name("shapes_attribution.txt")
    table = path.read_text(encoding="utf-8").partition("page\n")[2]
    rows = [line.split("\t") for line in table.splitlines()]
    models = [row[3] for row in rows]
    for pattern in SERIES:
        assert sum(series(model) == pattern for model in models) > 1, pattern
    assert {path for path, label in CORRECTIONS.items() if label} <= set(models)
    assert not {path for path, label in CORRECTIONS.items() if not label} & set(models)
    held = load()
    for index, row in enumerate(rows):
        assert classify(row[2], row[3]) == row[1]
        same = np.flatnonzero(held.groups == held.groups[index])
        assert {series(models[other]) for other in same} == {series(row[3])}


def test_models_are_read_upright_with_author_and_license(tmp_path):
    archive = write_archive(
        tmp_path / "BlendSwap-CC-0.sh3f",
        ("Bed", "a/bed", "Ann", TALL, None),
        ("Lamp", "a/lamp", "Ben", LYING, STAND_UP),
        ("Hamburger", "a/food", "Cy", "not a mesh", None),
        ("Sofa", "a/sofa", "Dee", TALL, None),
        licenses=[
            ("a/bed/BLENDSWAP_LICENSE.txt", TEXT_LICENSE.format("Creative Commons Zero")),
            ("a/lamp/43 - License.html", HTML_LICENSE),
        ],
    )
    models = dict(read_models(archive, ARCHIVES["BlendSwap-CC-0"]))
    assert list(models) == ["bed", "lamp", "sofa"]
    assert [model.license.name for model in models.values()] == ["CC0-1.0", "CC-BY-3.0", "CC0-1.0"]
    assert [model.author for model in models.values()] == ["Ann", "Ben", "Dee"]
    assert [model.page.rpartition("/")[2] for model in models.values()] == ["42", "43", ""]
    for model in models.values():
        vertices = model.mesh.vertices
        np.testing.assert_allclose([vertices[:, 2].min(), vertices[:, 2].max()], [0, 9])
        assert np.linalg.det(vertices[1:] - vertices[0]) > 0  # turned, and not mirrored
    (_, model), *_ = read_models(archive, ARCHIVES["Scopia"])
    assert model.author.startswith("Scopia Visual Interfaces Systems")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Creative Commons Attribution 3.0 Share-Alike", "is under .*'Share-Alike'"),
        ("Creative Commons Attribution 3.0 NonCommercial", "is under .*'NonCommercial'"),
        ("all rights reserved", "is under no license that is known"),
    ],
)
def test_another_license_is_refused(tmp_path, text, message):
    archive = write_archive(
        tmp_path / "BlendSwap-CC-BY.sh3f",
        ("Bed", "a/bed", "Ann", TALL, None),
        licenses=[("a/bed/LICENSE.html", text)],
    )
    with pytest.raises(ValueError, match=f"a/bed {message}"):
        list(read_models(archive, ARCHIVES["BlendSwap-CC-BY"]))


def test_a_damaged_model_is_named(tmp_path):
    archive = write_archive(tmp_path / "x.sh3f", ("Bed", "a/bed", "Ann", "f 1 2 3", None))
    with pytest.raises(ValueError, match=r"a/bed/bed\.obj: vertices must be"):
        list(read_models(archive, ARCHIVES["Scopia"]))


def test_the_files_that_are_made(tmp_path, capsys):
    for name in ARCHIVES:
        write_archive(
            tmp_path / f"{name}.sh3f",
            (f"Bed of {name}", f"{name}/bed", "Ann", TALL, None),
            ("Pine", "scopia/pine" if name == "Scopia" else f"{name}/pine", "Ben", LYING, STAND_UP),
            ("Pine", "scopia/pineSnow" if name == "Scopia" else f"{name}/snow", "Ben", TALL, None),
        )
    out = tmp_path / "out"
    out.mkdir()
    path = make(tmp_path, out)
    with np.load(path) as file:
        arrays = dict(file)
    assert arrays["class_names"].tolist() == sorted(CLASSES)
    names = arrays["class_names"][arrays["labels"]]
    assert names.tolist() == ["bed", "plant", "plant"] * 5
    assert len(set(arrays["groups"].tolist())) == 14
    assert arrays["groups"][13] == arrays["groups"][14]
    assert arrays["points"].shape == (15, 256, 3)
    points = arrays["points"].astype(float)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1).max(axis=1), 32_767, atol=2)
    assert (np.ptp(points, axis=1).argmax(axis=1) == 2).all()
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["classes"]["plant"] == 10
    text = (out / "shapes_attribution.txt").read_text(encoding="utf-8")
    assert "\n0\tbed\tBed of BlendSwap-CC-0\tBlendSwap-CC-0/bed\tAnn\tCC0-1.0\n" in text
    assert "\n9\tbed\tBed of Reallusion\tReallusion/bed\tReallusion, http" in text
    assert "plant (10): Pine; Pine" in capsys.readouterr().out


def test_a_missing_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"BlendSwap-CC-0\.sh3f"):
        make(tmp_path, tmp_path)
