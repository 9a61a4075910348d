"""Which extra brings a package: the core installs without torch, and a part that is missing names its line.

`explained` turns the `ModuleNotFoundError` of such a package into `MissingPackageError`; it decorates each public
function that may need one, so that a library caller sees the same line as the command line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aftertune.errors import MissingPackageError

EXTRAS = {
    "models": (
        "accelerate",
        "datasets",
        "huggingface_hub",
        "peft",
        "tokenizers",
        "torch",
        "tqdm",
        "transformers",
        "trl",
    ),
    "pii": ("spacy",),
    "inspect": ("inspect_ai",),
    "ray": ("ray",),
    "quantized": ("bitsandbytes",),
    "gguf": ("gguf",),
}
"""Extra -> the modules that it brings and the core does not have."""


def install(module: str) -> str:
    """Return the command that brings a module: that of its extra, or of the package itself where no extra has it."""
    for extra, modules in EXTRAS.items():
        if module.partition(".")[0] in modules:
            return f"pip install 'aftertune[{extra}]'"
    return f"pip install {module}"


def missing(error: ModuleNotFoundError) -> MissingPackageError | None:
    """Return the error that names the extra, or None if no extra would bring the module that was not found."""
    name = error.name or ""
    if any(name in modules for modules in EXTRAS.values()):
        return MissingPackageError(f"this needs the package {name}, which is not installed: {install(name)}")
    return None


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise MissingPackageError, with the line that installs it, where a package of an extra is not found."""
    try:
        yield
    except ModuleNotFoundError as error:
        lacking = missing(error)
        if lacking is None:
            raise
        raise lacking from None
