import json

import pytest

from eqattn.train.metrics import MetricsLog, keep_metrics, read_metrics


def write(directory, *rows):
    log = MetricsLog(directory)
    for row in rows:
        log.write(**row)
    log.close()


def test_metrics_are_complete_lines_of_json(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(step=1, loss=0.5, metrics={"gap": {"mae": float("nan")}})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"step": 1, "loss": 0.5, "metrics": {"gap": {"mae": None}}}
    log.write(step=2, loss=float("inf"))
    log.close()
    assert read_metrics(tmp_path)[1] == {"step": 2, "loss": None}


def test_no_file_has_no_lines(tmp_path):
    assert read_metrics(tmp_path) == []


def test_a_line_cut_short_is_skipped_and_dropped(tmp_path):
    write(tmp_path, {"step": 1}, {"step": 2}, {"step": 3})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]
    keep_metrics(tmp_path, lambda row: row["step"] < 2)
    write(tmp_path, {"step": 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 2 is not JSON that can be read"),
        (b"\xff\xfe", "line 2 is not JSON"),
        (b"[" * 100_000, "line 2 is not JSON"),
        (b"[1]", "line 2 is not a row of metrics, it has no step"),
        (b'{"step": "3"}', "line 2 is not a row of metrics"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, message):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + line + b"\n")
    with pytest.raises(ValueError, match=f"metrics.jsonl: {message}"):
        read_metrics(tmp_path)
