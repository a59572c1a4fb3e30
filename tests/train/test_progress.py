import dataclasses
import io
import logging

from rich.console import Console

from eqattn.train.progress import LogReporter, Reporter, TerminalReporter, Update

UPDATE = Update(step=50, steps=100, loss=0.25, steps_per_second=0.5, examples_per_second=3200.0)


def test_an_update_states_loss_rate_and_time_left():
    assert UPDATE.seconds_left == 100.0
    small = dataclasses.replace(UPDATE, loss=1.5e-6)
    assert "loss 1.500e-06  " in str(small)
    assert str(UPDATE) == "step 50/100  loss 0.2500  3,200 examples/s  0.5 steps/s  1:40 left"


def test_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    reporter = TerminalReporter(Console(file=stream), seconds=0.0)
    reporter.update(UPDATE)
    reporter.note("validation: " + "long " * 40 + "[eV]")
    reporter.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == str(UPDATE)
    assert lines[1].endswith("[eV]"), "a note is one line, whatever its length"
    assert len(lines) == 2
    assert "\x1b" not in stream.getvalue()


def test_plain_lines_come_now_and_then_and_at_the_end():
    stream = io.StringIO()
    reporter = TerminalReporter(Console(file=stream), seconds=3600.0)
    reporter.update(UPDATE)
    assert stream.getvalue() == ""
    reporter.update(Update(100, 100, 0.2, 0.5, 3200.0))
    assert "step 100/100" in stream.getvalue()


def test_a_live_bar_on_a_terminal():
    stream = io.StringIO()
    reporter = TerminalReporter(Console(file=stream, force_terminal=True, width=140))
    reporter.update(UPDATE)
    reporter.note("a note")
    reporter.close()
    for text in ("step 50/100", "loss 0.2500", "3,200 examples/s", "50%", "a note"):
        assert text in stream.getvalue()


def test_the_library_only_logs(caplog, capsys):
    with caplog.at_level(logging.DEBUG, logger="eqattn"):
        reporter = LogReporter()
        reporter.update(UPDATE)
        reporter.note("a note")
        reporter.close()
    assert [record.levelno for record in caplog.records] == [logging.DEBUG, logging.INFO]
    assert capsys.readouterr() == ("", "")


def test_both_are_reporters():
    assert isinstance(LogReporter(), Reporter)
    assert isinstance(TerminalReporter(Console(file=io.StringIO())), Reporter)


def test_by_default_it_writes_to_stderr(capsys):
    TerminalReporter().note("a note")
    assert capsys.readouterr() == ("", "a note\n")
