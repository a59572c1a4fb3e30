"""The benchmarks run; what they measure is not judged here."""

import dataclasses

import pytest

from benchmarks import attention, workloads


@pytest.mark.slow
def test_attention_is_measured_against_plain_attention():
    smallest = dataclasses.replace(workloads.WORKLOADS[0], batch=1, num_points=4, dim=16)
    rows = attention.measure(smallest)
    assert [row["location"] for row in rows] == ["none", "mlp", "mlp_per_head"]
    assert rows[0]["forward_ratio"] == rows[0]["forward_backward_ratio"] == 1
    assert all(row["forward_ms"] > 0 and row["forward_backward_ms"] > 0 for row in rows)


def test_workloads_have_names_of_their_own():
    names = [workload.name for workload in workloads.WORKLOADS]
    assert len(set(names)) == len(names)
