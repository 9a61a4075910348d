"""Make the docs' pictures of reports with a Chromium on the PATH.

`python -m perf.pictures RUN` writes docs/report.png of the demo; `--name real.png` that of the run of `make real`.

Beside it docs/pictures.json keeps the hash of what draws the page (templates, style, script); `tests/reporting/
test_pictures.py` fails where today's code draws another page than the picture shows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "pictures.json"
DRAWN_BY = ("report.html", "macros.html", "style.css")
"""What decides how the page looks, below `reporting/`."""
SIZE = (1280, 1500)
NAMES = ("report.png", "real.png")
"""Of the demo, and of the first run on a real model."""


def look() -> str:
    """Return the hash of what draws the page."""
    folder = ROOT / "src" / "aftertune" / "reporting"
    return hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in DRAWN_BY)).hexdigest()


def main() -> None:
    """Take the picture of a finished run's page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run, its page made by today's code")
    parser.add_argument("--name", choices=NAMES, default=NAMES[0])
    given = parser.parse_args()
    page = (given.run / "report.html").resolve()
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
    kept[given.name] = {"look": look(), "sha256": hashlib.sha256(picture.read_bytes()).hexdigest()}
    KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
