import ast
import dataclasses
from pathlib import Path

import pytest

from eqattn import config
from eqattn.config import OptimizerConfig, RunConfig, SavedConfig, Standardization
from eqattn.models import LieTransformerConfig


@pytest.mark.parametrize("cls", [OptimizerConfig, RunConfig, SavedConfig, Standardization])
def test_configurations_are_frozen_dataclasses(cls):
    assert cls.__dataclass_params__.frozen
    assert cls.__name__ in config.__all__


def test_configurations_compare_by_value_and_can_be_changed_by_replace():
    changed = dataclasses.replace(RunConfig(), model=LieTransformerConfig(dim=64))
    assert changed != RunConfig()
    assert dataclasses.replace(changed, model=LieTransformerConfig()) == RunConfig()
    assert RunConfig().model.dim == 128, "replace must not touch the default"


def test_every_field_says_what_it_means():
    tree = ast.parse(Path(config.__file__).read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == len(config.__all__)
    for cls in classes:
        assert ast.get_docstring(cls)
        for field, following in zip(cls.body, [*cls.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                documented = isinstance(following, ast.Expr)
                assert documented, f"{cls.name}.{ast.unparse(field.target)} has no docstring"


def test_the_module_has_no_logic():
    tree = ast.parse(Path(config.__file__).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.If)]
