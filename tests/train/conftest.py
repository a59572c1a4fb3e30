from types import MappingProxyType

import pytest

from eqattn.tasks.core import registry
from tests.train.toy import ToyTask


@pytest.fixture(autouse=True)
def toy_task(monkeypatch):
    """Makes the toy known as a task; its class can be told to go bad at a step."""
    known = {**registry.TASKS, "toy": ("tests.train.toy", "ToyTask")}
    monkeypatch.setattr(registry, "TASKS", MappingProxyType(known))
    monkeypatch.setattr(ToyTask, "bad_step", None)
    return ToyTask
