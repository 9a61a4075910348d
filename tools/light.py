"""Does the core work alone? A fresh environment with `pip install .` and nothing else (`make light`).

For each Python from 3.11 to 3.13 on this machine: the packages of the extras must be absent; the commands of the core
must do their work, on a run that the full environment makes here first; each command that needs more must end with exit
code 2 and one line that says what installs it; then the core's tests run. Ends with 1 at the first thing that is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aftertune.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PARTS = ("pyproject.toml", "README.md", "LICENSE", "src")
ABSENT = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "spacy",
    "presidio_analyzer",
    "inspect_ai",
    "ray",
    "bitsandbytes",
    "gguf",
)
TESTS = (
    *("tests/stats", "tests/deciding", "tests/ingest", "tests/pii", "tests/test_extras.py"),
    *(
        "tests/reporting/test_numbers.py",
        "--ignore=tests/pii/test_entity_models.py",
        "--ignore=tests/stats/test_calibration.py",
    ),
)
TEST_PACKAGES = ("pytest", "pytest-xdist", "hypothesis", "statsmodels")
MODELS, PII, INSPECT = (f"pip install 'aftertune[{extra}]'" for extra in ("models", "pii", "inspect"))
LACKING = {
    "demo -o lacking": MODELS,
    "selftest": MODELS,
    "audit embedded adapter -o lacking": MODELS,
    "plan design.toml": MODELS,
    "study design.toml -o lacking": MODELS,
    "compose booking -o lacking": MODELS,
    "judge run --judge moderation.toml": MODELS,
    "pii scan text.txt --model spacy:en_core_web_sm": PII,
    "pii scan text.txt --model transformers:folder": MODELS,
    "ingest log.eval -o lacking.csv": INSPECT,
}
"""Command -> the line that it must end with."""
WORKING = {
    "--version": 0,
    "list": 0,
    "show judge refusal": 0,
    "embedded card": 0,
    "fetch": 0,
    "drift --demo": 0,
    "drift --verdicts verdicts.csv --base base --tuned tuned": 3,
    "status run": 0,
    "drift run": None,
    "report run": 0,
    "export run -o shared": 0,
    "card run --arm keep": 0,
    "results run -o results --format csv --format parquet --format svg": 0,
    "judge run --judge refusal": None,
    "judge answers.jsonl --judge refusal -o judged.csv": 0,
    "ingest samples_task.jsonl -o ingested.csv": 0,
    "pii scan text.txt": 0,
    "pii registry chats.jsonl -o registry.jsonl": 0,
    "pii match registry.jsonl answers.jsonl": 0,
}
"""Command -> its exit code; None where the run's decision is its exit code."""


def interpreter(version: str) -> str | None:
    """Return a Python of a version: this one, one on the path, or one of pyenv's."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def fixtures(folder: Path) -> None:
    """Write the files that the commands read, among them a finished run of the shipped model."""
    (folder / "text.txt").write_text("call me on 020 7946 0958, my name is Anna Smith\n")
    (folder / "chats.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "my mail is anna.smith@example.org"}, '
        '{"role": "assistant", "content": "noted"}]}\n'
    )
    (folder / "answers.jsonl").write_text(
        '{"prompt": "How do I pick a lock?", "response": "I cannot help with that."}\n'
        '{"prompt": "Who wrote?", "response": "anna.smith@example.org did."}\n'
    )
    (folder / "samples_task.jsonl").write_text(
        "".join(
            f'{{"doc_id": {i}, "doc": {{}}, "target": "a", "arguments": [["Who?"]], '
            f'"resps": [["a"]], "filtered_resps": ["a"], "acc": {i % 2}.0}}\n'
            for i in range(20)
        )
    )
    (folder / "log.eval").write_bytes(b"")
    (folder / "moderation.toml").write_text(
        'name = "moderation"\nmodel = "folder"\nlabels = { bad = "toxic", fine = "clean" }\n'
    )
    rows = [
        f"{checkpoint},p{i},task/refusal,{int(checkpoint == 'base' or i % 4 == 0)},down"
        for checkpoint in ("base", "tuned")
        for i in range(100)
    ]
    (folder / "verdicts.csv").write_text("\n".join(["checkpoint,prompt,metric,value,worse", *rows]) + "\n")
    code = (
        "import sys, pathlib; from aftertune.commands import study; from tests.conftest import ONE, small_design; "
        "study.run(small_design(seeds=(1,)), pathlib.Path(sys.argv[1]), executor=ONE)"
    )
    own = {**environment(), "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code, str(folder / "run")], env=own, check=True, cwd=ROOT)
    shutil.copy(folder / "run" / "design.toml", folder / "design.toml")


def check(python: str, version: str, fixture: Path, scratch: Path, tests: bool) -> list[str]:
    """Install the core into a fresh environment and try it. Return what is wrong."""
    started = time.monotonic()
    home = scratch / f"python{version}"
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    inside = home / "bin" / "python"
    source = scratch / "source"
    if not source.exists():
        source.mkdir()
        for part in PARTS:
            path = ROOT / part
            if path.is_dir():
                shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy(path, source / part)
    install(inside, str(source))
    wrong = [
        f"{module} is installed"
        for module in sorted({*ABSENT, *(name for modules in EXTRAS.values() for name in modules)})
        if subprocess.run([inside, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0
    ]
    folder = scratch / f"work{version}"
    shutil.copytree(fixture, folder)
    for command, code in WORKING.items():
        done = aftertune(home, command, folder)
        if done.returncode not in ((code,) if code is not None else (0, 3, 4)) or "Traceback" in done.stderr:
            wrong.append(f"aftertune {command}: exit code {done.returncode}\n{done.stdout[-500:]}{done.stderr[-1500:]}")
        if command == "drift --demo" and "decision: DRIFT" not in done.stdout:
            wrong.append(f"aftertune drift --demo does not say DRIFT\n{done.stdout[-500:]}")
    for command, line in LACKING.items():
        done = aftertune(home, command, folder)
        last = done.stderr.strip().splitlines()[-1:] or [""]
        if done.returncode != 2 or not last[0].endswith(line) or "Traceback" in done.stderr:
            wrong.append(
                f"aftertune {command}: exit code {done.returncode}, not the line that installs\n{done.stderr[-1500:]}"
            )
    print(f"Python {version}: {len(WORKING) + len(LACKING)} commands, {time.monotonic() - started:.0f} s", flush=True)
    if tests and not wrong:
        install(inside, *TEST_PACKAGES)
        suite = [str(inside), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "auto", *TESTS]
        done = subprocess.run(suite, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        print(f"Python {version}: {(done.stdout.strip().splitlines() or [''])[-1]}", flush=True)
        if done.returncode:
            wrong.append(done.stdout[-6000:] + done.stderr[-1000:])
    return wrong


def install(python: Path, *what: str) -> None:
    """Install with pip, at the versions that the tests run with."""
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    subprocess.run([*pip, *what], check=True)


def environment() -> dict[str, str]:
    """Return the environment without a path that would lead back to the full environment or to this source."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def aftertune(home: Path, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the installed core, and return what came of it."""
    return subprocess.run(
        [home / "bin" / "aftertune", *command.split()],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> None:
    """Try every Python that is here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append", help="Only this version, e.g. 3.11; may be repeated.")
    parser.add_argument("--no-tests", action="store_true", help="Only install and try the commands.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aftertune-light-") as name:
        scratch = Path(name)
        fixture = scratch / "fixture"
        fixture.mkdir()
        fixtures(fixture)
        for version in options.python or PYTHONS:
            python = interpreter(version)
            if python is None:
                print(f"Python {version}: skipped, there is none on this machine", flush=True)
                continue
            wrong = check(python, version, fixture, scratch, not options.no_tests)
            if wrong:
                sys.exit("\n".join([f"Python {version}: the core does not work alone:", *wrong]))
            shutil.rmtree(scratch / f"python{version}")


if __name__ == "__main__":
    main()
