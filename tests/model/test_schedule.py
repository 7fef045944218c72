import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantity": "weight"}, "quantity: must be one of 'v_rest', 'i_offset', 'rate', 'clamp', got 'weight'"),
        ({"times": []}, "times: must be at least one time, >= 0 ms and rising"),
        ({"times": [2.0, 1.0]}, "times: must be at least one time, >= 0 ms and rising"),
        ({"times": [-1.0, 1.0]}, "times: must be at least one time, >= 0 ms and rising"),
        ({"values": [1.0]}, r"values: must be one \(or one row\) a time \(2\), got '1'"),
        ({"values": 3.0}, "values: must be an array of 1 or 2 dimensions"),
        ({"values": [1.0, np.inf]}, r"values\[1\]: must be finite"),
        ({"quantity": "clamp", "values": [1, 2]}, r"values: must be 0, 1 or -1 \(free\) for a clamp"),
        ({"units": [0, 0]}, "units: must be distinct"),
        ({"units": "z0"}, "units: must be a sequence of indices or names"),
        ({"units": [1.5]}, "units: must be integers, got 1.5"),
        (
            {"units": [0], "values": [[1, 2], [3, 4]]},
            r"units: must be as many as there are values for \(2\), got 1",
        ),
        ({"sources": [0]}, "sources: must be None unless quantity is 'rate'"),
    ],
)
def test_a_bad_course_is_named(values, message):
    good = {"quantity": "v_rest", "times": [0.0, 5.0], "values": [1.0, 2.0]}
    with pytest.raises(ValidationError, match="Piecewise." + message):
        bs.Piecewise(**(good | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantity": "clamp"}, "quantity: must be one of 'v_rest', 'i_offset', 'rate', got 'clamp'"),
        ({"frequency": 0.0}, "frequency: must be > 0 Hz"),
        ({"phase": np.nan}, "phase: must be a finite number"),
        ({"amplitude": [[1.0]]}, "amplitude: must be an array of 0 or 1 dimensions"),
    ],
)
def test_a_bad_wave_is_named(values, message):
    with pytest.raises(ValidationError, match="Wave." + message):
        bs.Wave(**({"quantity": "rate", "amplitude": 1.0, "frequency": 5.0} | values))


def test_a_course_is_read_only():
    course = bs.Piecewise(quantity="rate", times=[1.0], values=[[3.0]], units=["a"], sources=[0])
    with pytest.raises(ValueError, match="read-only"):
        course.values[0] = 1
    assert course == bs.Piecewise(quantity="rate", times=[1.0], values=[[3.0]], units=("a",), sources=(0,))
    assert course != bs.Piecewise(quantity="rate", times=[1.0], values=[[4.0]], units=("a",), sources=(0,))
