"""The free models of Sweet Home 3D: which are of which class, whose they are, and their meshes.

The Debian package sweethome3d-furniture holds them, as five zip archives ``*.sh3f`` of OBJ models,
each with a catalog of names. A model's class comes from its name, by the first table below. The
names were read, and the models looked at: the second table holds what their names say wrongly. The
third names the models that are variants of one another, which must not be in two folds.
"""

import html
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqattn.data.text import to_floats, to_integer
from eqattn.tasks.shapes.meshes import Mesh, read_obj

# Class: pattern of names (in lower case), pattern of names that are none of it all the same.
CLASSES: dict[str, tuple[str, str]] = {
    "appliance": (r"fridge|refrigerator|freezer|oven|stove|cooker|machine|dryer|microwave",
                  r"induction|propane|coffee"),
    "bathroom fixture": (r"washbasin|lavatory|toilets unit|bidet|\bbath$|bathtub|urinal|potty|"
                         r"jacuzzi", r"^$"),
    "bed": (r"\bbed\b|crib|^futon$", r"day bed"),
    "bench or stool": (r"stool|\bbench$|\bbank$|^puff$", r"abdominal"),
    "cabinet": (r"cabinet|wardrobe|cupboard|bookcase|shelves|dresser|^chest$|locker|bedside|"
                r"vanity", r"^$"),
    "car": (r"sedan|beetle|peugeot|renault|ford focus|seat leon|suv|chevrolet|\bvan\b|smart car|"
            r"\b(city )?bus\b|truck|car model", r"^$"),
    "chair": (r"\bchair\b|class seat", r"^$"),
    "door or window": (r"\bdoor\b|window", r"cabinet|blind|shutter"),
    "lamp": (r"lamp|\b(spot)?lights?\b|lantern", r"^$"),
    "person": (r"male|boy|girl", r"^$"),
    "plant": (r"\bplant$|\btree$|bamboo|ficus|cypress|\bpine\b|acacia|maple|poplar|beech|yucca|"
              r"^bush$|flowers|tulips|lily|orchids|cactus|spathiphyllum|peach blossom", r"^$"),
    "sofa": (r"\b(sofa|couch|armchair)\b", r"ottoman|opened"),
    "table": (r"\btable\b|\bdesk\b",
              r"lamp|fan|tennis|football|pool|bedside|changing|dressing"),
    "vessel": (r"bottle|\bvase$|\bcup$|\bglass$|\bmug$|\bjar$|\bbowl\b|pottery|teapot|creamer|"
               r"flacon", r"spray"),
}  # fmt: skip

# Catalog and folder of a model: the class that it looks like, or None where it looks like none.
CORRECTIONS: dict[str, str | None] = {
    "blendswap-cc-0/armchair": "chair",
    "blendswap-cc-0/foldingChair": None,  # a folding stool without a back
    "blendswap-cc-0/modernArmchair": "chair",
    "blendswap-cc-0/stove": None,  # a hob, flat
    "blendswap-cc-by/armChair2": "chair",
    "scopia/ext_chair": None,  # a broad bench on no legs
    "scopia/modern_armchair": "chair",
}

# Catalogs and folders of models that share their geometry, or much of it, one series a line.
SERIES: tuple[str, ...] = (
    r"blendswap-cc-0/(oven|doubleOven)",
    r"blendswap-cc-0/(bed1|bed2)",
    r"blendswap-cc-0/(shelves|verticalShelves)",
    r"blendswap-cc-0/(drawers|glassDoor|high|lower|lowerCorner|sink|smallUpper|upper|upperCorner)"
    r"Cabinet|blendswap-cc-0/upperShelves",
    r"blendswap-cc-0/technicalTable\d",
    r"blendswap-cc-0/winchester\w+",
    r"blendswap-cc-by/kitchen\w*Cabinet",
    r"katorlegaz/concept-sedan-01\w*",
    r"katorlegaz/concept-sedan-02.*",
    r"katorlegaz/exterior-door-\d+",
    r"katorlegaz/window-0\S*",
    r"katorlegaz/(female|male)-01-\S*",
    r"katorlegaz/mid-century-(bench-)?sofa",
    r"katorlegaz/(12-oz|highball)-glass",
    r"reallusion/(lyingDown\w+|boyLying)",
    r"scopia/(clothes_washing|dryer)_machine",
    r"scopia/(door|puerta|glass_door|glassDoor2)",
    r"scopia/double_door\w*",
    r"scopia/garage-door\d?",
    r"scopia/window_[123]x[1-6]\w*",
    r"scopia/window_4x\d\w*",
    r"scopia/beige_sofa\w*",
    r"scopia/bowlWith\w+",
    r"scopia/coconutTree\w*",
    r"scopia/(pine|pineSnow)",
    r"scopia/(double_|bathroom_)vanity",
    r"scopia/little_lamp\d",
    r"scopia/mannequin\w+",
    r"scopia/rattan(Armchair|Sofa)",
    r"scopia/wooden_office_\w+",
)


@dataclass(frozen=True)
class License:
    """A license of models: its short name, where it is, and the holder if authors are not named."""

    name: str
    page: str
    holder: str


_CC0 = License("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/", "")
_BY = License("CC-BY-3.0", "https://creativecommons.org/licenses/by/3.0/", "")
_BY_US = "https://creativecommons.org/licenses/by/3.0/us/"
ARCHIVES: dict[str, License] = {
    "BlendSwap-CC-0": _CC0,
    "BlendSwap-CC-BY": _BY,
    "KatorLegaz": License("CC-BY-3.0-US", _BY_US, "Andrew Kator & Jennifer Legaz"),
    "Reallusion": License("CC-BY-3.0-US", _BY_US, "Reallusion, http://www.reallusion.com"),
    "Scopia": License(
        _BY.name,
        _BY.page,
        "Scopia Visual Interfaces Systems, s.l. (http://www.scopia.es) and "
        "Emmanuel Puybaret / eTeks",
    ),
}


@dataclass(frozen=True)
class Model:
    """One model of a catalog."""

    path: str
    """Catalog and folder, such as ``scopia/bed1``."""
    name: str
    author: str
    license: License
    page: str
    """Where the author published it, if that is stated."""
    mesh: Mesh
    """With z up."""


def classify(name: str, path: str) -> str | None:
    """Returns the class of a model, or None if it is of none.

    Args:
      name: In the catalog.
      path: Catalog and folder.

    Raises:
      ValueError: If the name is of two classes.
    """
    if path in CORRECTIONS:
        return CORRECTIONS[path]
    found = [
        label
        for label, (pattern, exception) in CLASSES.items()
        if re.search(pattern, name.lower()) and not re.search(exception, name.lower())
    ]
    if len(found) > 1:
        raise ValueError(f"name {name!r} ({path}) is of two classes: {' and '.join(found)}.")
    return found[0] if found else None


def series(path: str) -> str:
    """Returns what the variants of a model have in common: its pattern, or else its own path."""
    return next((pattern for pattern in SERIES if re.fullmatch(pattern, path)), path)


def read_models(archive: Path, license: License) -> Iterator[tuple[str, Model]]:
    """Yields the class of each model of an archive that has one, and the model.

    Args:
      archive: A file ``*.sh3f``.
      license: License of the models whose folder holds no other.

    Raises:
      ValueError: If a model is under a license that is not known here, or cannot be read.
    """
    with zipfile.ZipFile(archive) as file:
        catalog = file.read("PluginFurnitureCatalog.properties").decode("latin-1")
        entries: dict[int, dict[str, str]] = {}
        for key, number, value in re.findall(r"^(\w+)#(\d+)=(.*?)\s*$", catalog, re.MULTILINE):
            entries.setdefault(to_integer(number), {})[key] = value
        for _, entry in sorted(entries.items()):
            member = entry["model"].strip("/")
            path = member.rpartition("/")[0]
            label = classify(entry["name"], path)
            if label is None:
                continue
            own, page = _license(file, path, license)
            mesh = read_obj(file.read(member).decode("latin-1"), member)
            rotation = np.array(to_floats(entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()))
            x, y, z = (mesh.vertices @ rotation.reshape(3, 3).T).T  # y points up
            mesh = Mesh(np.stack([x, -z, y], axis=-1), mesh.triangles)
            author = license.holder or entry["creator"]
            yield label, Model(path, entry["name"], author, own, page, mesh)


def _license(file: zipfile.ZipFile, path: str, usual: License) -> tuple[License, str]:
    """Returns the license in a model's folder, or else the usual one, and the model's page."""
    pattern = re.compile(re.escape(path) + r"/[^/]*licen[^/]*", re.IGNORECASE)
    texts = [file.read(name).decode("utf-8", "replace") for name in file.namelist()
             if pattern.fullmatch(name)]  # fmt: skip
    if not texts:
        return usual, ""
    text = html.unescape(texts[0])
    stated = set(re.findall(r"Creative\s+Commons\s+(Zero|Attribution\s+3\.0)", text))
    stated |= set(re.findall(r"Share-?\s?Alike|Non-?\s?Commercial|No-?\s?Deriv", text, re.I))
    known = {"Zero": _CC0, "Attribution 3.0": _BY}
    if len(stated) != 1 or not stated <= known.keys():
        raise ValueError(f"{path} is under {sorted(stated) or 'no license that is known'}.")
    page = re.search(r"https?://(?:www\.)?blendswap\.com/blends/view/\d+", text)
    return known[stated.pop()], page.group() if page else ""
