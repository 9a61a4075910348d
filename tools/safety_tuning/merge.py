"""The base with the safety tuning in its weights, as a folder that a design can name as a base.

Tuning starts from a full model, so a study's base is a folder with everything in it: W + BA in float32, and the base's
own tokenizer and chat template.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from aftertune.errors import ModelError
from aftertune.models.identity import TOKENIZER_FILES, resolve
from aftertune.models.loading import load_weights
from aftertune.models.peft_adapters import attach, merged, read_adapter

MARK = "safety_tuning.sha256"
"""File in the folder: which adapter is in its weights; written last."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def merge(base: Path, adapter: Path, out: Path) -> Path:
    """Write the merged model to `out`, unless it is there; return `out`. Raises ModelError for what cannot be used."""
    import torch

    wanted = sha256(adapter / "adapter_model.safetensors")
    if (out / MARK).is_file() and (out / MARK).read_text(encoding="utf-8").strip() == wanted:
        return out
    reference = resolve(base)
    tuned = resolve(adapter, base=reference)
    if tuned.kind != "adapter":
        raise ModelError(f"{adapter}: no adapter")
    model = load_weights(reference, torch.float32, "cpu")
    whole = merged(attach(model, read_adapter(model, tuned)), read_adapter(model, tuned))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".part-") as scratch:
        folder = Path(scratch) / out.name
        whole.save_pretrained(folder)
        for name in (*TOKENIZER_FILES, "generation_config.json"):
            if (reference.path / name).is_file():
                shutil.copyfile(reference.path / name, folder / name)
        (folder / MARK).write_text(wanted + "\n", encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)
    return out
