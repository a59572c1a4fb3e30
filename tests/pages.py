"""The pages of the documentation: README.md and the guides in docs/."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *GUIDES]


def read_all() -> str:
    """The text of README.md and of all guides."""
    return "\n".join(page.read_text() for page in [ROOT / "README.md", *GUIDES])
