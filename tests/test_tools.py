import textwrap

from tools import house


def test_what_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(house, "_duplicates", lambda root: {})
    (tmp_path / "eqattn" / "lift").mkdir(parents=True)
    (tmp_path / "eqattn" / "lift" / "haar.py").write_text("class Haar:\n    pass\n")
    (tmp_path / "eqattn" / "models.py").write_text(
        textwrap.dedent('''\
            """What this is.

            Args:
              x: Of the points.
              y: Numbers.
                of: this is no argument.
            """

            # A comment.
            NUM = 3
            """What it says."""


            def draws(lift, other):  # pyright: ignore
                match other:
                    case Haar():
                        return type(lift) is Haar
                text = """a
                b"""
                return isinstance(lift, int | Haar) or isinstance(other, str)
            ''')
    )
    counts = house.count(tmp_path)
    assert counts["files"] == 2
    assert counts["lines of code"] == 2 + 8
    assert counts["tests on lifts outside lift/"] == 3
    assert counts["pyright ignores"] == 1
    assert counts["documented arguments"] == 2
    assert counts['documented arguments that begin with "of"'] == 1
    longer = counts["tokens of code"]
    path = tmp_path / "eqattn" / "lift" / "haar.py"
    path.write_text(path.read_text() + "X = 1\n")
    assert house.count(tmp_path)["tokens of code"] == longer + 3
