"""Make the docs' pictures of reports with a Chromium on the PATH.

`python -m perf.pictures RUN` writes docs/report.png of the demo; `--name real.png` that of the run of `make real`. The
page is made anew from the run first, by today's code.

Beside it docs/pictures.json keeps the hash of the code that draws the page (`drawn_by`) and the versions of the judges
whose verdicts the run holds. `tests/reporting/test_pictures.py` fails where either is not today's. What neither shows
is a change of the numbers alone, by the code that asks, tunes or estimates.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aftertune
from aftertune import plugins
from aftertune.run.run_folder import Run
from aftertune.studies import stored

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "pictures.json"
PACKAGE = ROOT / "src" / "aftertune"
FIRST = ("reporting/html.py", "reporting/gather.py", "reporting/study_numbers.py")
"""What draws the page, and what gathers the sentences and tables that it shows; below `PACKAGE`, as `WORDS`."""
WORDS = ("direction.py", "headline.py", "naming.py", "numbers.py", "outcome.py")
"""How numbers, arms and decisions are written, and which rows lead."""
TEMPLATES = ("report.html", "macros.html", "style.css", "report.js")
"""What the page is filled into, below `reporting/`."""
SIZE = (1280, 1500)
NAMES = ("report.png", "real.png")
"""Of the demo, and of the first run on a real model."""


def drawn_by() -> list[Path]:
    """Return the files that decide how a page looks: templates, and all modules of `reporting/` that it needs."""
    found = {PACKAGE / "reporting" / name for name in TEMPLATES} | {PACKAGE / name for name in WORDS}
    left = [PACKAGE / name for name in FIRST]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += _imported(path)
    return sorted(found)


def _imported(path: Path) -> Iterator[Path]:
    """Yield the modules of `reporting/` that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aftertune.reporting"):
            module = ROOT / "src" / str(node.module).replace(".", "/")
            names = [module, *(module / each.name for each in node.names)]
            yield from (each for name in names if (each := name.with_suffix(".py")).is_file())


def look() -> str:
    """Return the hash of what draws the page."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in drawn_by())).hexdigest()


def judges_of(run: Path) -> dict[str, str]:
    """Return the judges of a run, each with the version that gave its verdicts. Raises StoreError for a damaged run."""
    return {judge.spec.name: judge.version for judge in stored.read(Run.open(run)).judges}


def outdated(kept: Mapping[str, Any]) -> list[str]:
    """Return why a picture, by what is kept of it, is not of today's code; empty where it is."""
    why = [] if kept["look"] == look() else ["today's code draws another page"]
    for name, version in kept["judges"].items():
        today = str(plugins.plugin_class("judge", name).version)
        why += [] if version == today else [f"its run was judged by {name} {version}, which is {name} {today} now"]
    return why


def main() -> None:
    """Take the picture of a finished run's page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--name", choices=NAMES, default=NAMES[0])
    given = parser.parse_args()
    page = aftertune.open_run(given.run).report().resolve()
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium on this machine")
    picture = ROOT / "docs" / given.name
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--screenshot={picture}",
         f"--window-size={SIZE[0]},{SIZE[1]}", page.as_uri()],
        check=True,
    )  # fmt: skip
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    kept[given.name] = {
        "look": look(),
        "judges": judges_of(given.run),
        "sha256": hashlib.sha256(picture.read_bytes()).hexdigest(),
    }
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
