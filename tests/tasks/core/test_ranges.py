import numpy as np

from eqattn.config import TrainingRange
from eqattn.tasks.core.ranges import Quantity, reasons_outside, training_ranges

SIZES = Quantity("size", "", np.array([2.0, 3.0, 5.0]), np.array([2.0, 3.0, 5.0]))
LENGTHS = Quantity("length", "m", np.array([0.5, np.nan, 1.0]), np.array([4.0, np.nan, 2.0]))
NOTHING = Quantity("nothing", "m", np.full(3, np.nan), np.full(3, np.nan))


def test_ranges_are_over_all_examples_that_have_the_quantity():
    assert training_ranges([SIZES, LENGTHS, NOTHING]) == (
        TrainingRange("size", "", 2.0, 5.0),
        TrainingRange("length", "m", 0.5, 4.0),
    )


def test_reasons_name_the_value_and_what_was_trained_on():
    ranges = training_ranges([SIZES, LENGTHS])
    assert reasons_outside([SIZES, LENGTHS, NOTHING], ranges) == {}
    shorter = Quantity("length", "m", np.array([0.1, 1.0, 0.49999]), np.array([4.0, 9.0, 4.00001]))
    width = Quantity("width", "m", np.array([np.nan, 1.0, np.nan]), np.array([np.nan, 1.0, np.nan]))
    assert reasons_outside([SIZES, shorter, width], ranges) == {
        0: "length: 0.1 m, trained on 0.5 to 4",
        1: "length: 9 m, trained on 0.5 to 4; width: not in training",
    }
