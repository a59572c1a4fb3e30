"""What the benchmarks that train models share: their options, and runs that are kept."""

from collections.abc import Sequence
from pathlib import Path

from eqattn.config import RunConfig
from eqattn.train import RunResult, resume, train


def out_folder(words: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Returns the value of ``--out``, None without it, and the other words.

    Args:
        words: Of the command line.

    Raises:
        SystemExit: If ``--out`` has no value.
    """
    words = list(words)
    if "--out" not in words:
        return None, words
    place = words.index("--out")
    if place + 1 == len(words):
        raise SystemExit("--out needs a folder.")
    return Path(words[place + 1]), words[:place] + words[place + 2 :]


def train_once(config: RunConfig, folder: Path) -> RunResult:
    """Trains a model, or goes on with the run that is in the folder, to its end.

    Args:
        config: The run.
        folder: The run folder.
    """
    is_begun = (folder / "config.json").is_file()
    return resume(folder) if is_begun else train(config, folder)
