"""Named-entity models that plug in by name beside our recognisers: spaCy, transformers, GLiNER. None is downloaded.

`spacy:NAME`, `transformers:FOLDER` and `gliner:FOLDER`; a name without a prefix is a spaCy package or path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from aftertune.errors import MissingPackageError, ModelError, UsageError, near
from aftertune.extras import install
from aftertune.pii.recogniser import Candidate

LABELS = {
    "PER": "PERSON",
    "PERSON": "PERSON",
    "NAME": "PERSON",
    "GIVENNAME": "PERSON",
    "SURNAME": "PERSON",
    "ADDRESS": "ADDRESS",
    "STREET": "ADDRESS",
    "STREET_ADDRESS": "ADDRESS",
    "PHONE": "PHONE",
    "PHONE_NUMBER": "PHONE",
    "TELEPHONENUM": "PHONE",
    "EMAIL": "EMAIL",
    "EMAIL_ADDRESS": "EMAIL",
    "DATE_OF_BIRTH": "DATE_OF_BIRTH",
    "USERNAME": "USERNAME",
    "PASSPORT": "PASSPORT",
    "PASSPORT_NUMBER": "PASSPORT",
}
"""A model's label -> our type; towns, organisations and dates are not personal on their own."""
SPACY_SCORE = 0.85
"""The score of every entity, since spaCy's models give none (the value is Presidio's)."""
WINDOW = 1200
"""Characters that a model reads at once; longer texts are cut at spaces."""
_GLINER_LABELS = ("person", "street address", "phone number", "email", "date of birth", "username", "passport number")

Model = Callable[[str], Iterator[Candidate]]


@cache
def load(name: str) -> Model:
    """Return the model as a function of a text; kept for the life of the process.

    Raises UsageError where its package or its files are not on this machine; nothing is ever downloaded.
    """
    kind, _, rest = name.partition(":")
    if not rest:
        kind, rest = "spacy", name
    makers = {"spacy": _spacy, "transformers": _transformers, "gliner": _gliner}
    if kind not in makers:
        raise UsageError(f"unknown kind of model '{kind}' in '{name}'{near(kind, list(makers))}; write e.g. spacy:NAME")
    if util.find_spec(kind) is None:
        raise MissingPackageError(f"model '{name}' needs the package {kind}: {install(kind)}")
    read = makers[kind](rest)

    def find(text: str) -> Iterator[Candidate]:
        for begin, piece in _pieces(text):
            for start, end, label, score in read(piece):
                type_ = LABELS.get(label.upper().removeprefix("B-").removeprefix("I-").replace(" ", "_"))
                while end > start and piece[start].isspace():
                    start += 1
                while end > start and piece[end - 1].isspace():
                    end -= 1
                if type_ and 0 <= start < end <= len(piece):
                    why = f"model {name}: {label}"
                    yield Candidate(begin + start, begin + end, type_, round(min(1.0, score), 2), why)

    return find


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    begin = 0
    while begin < len(text):
        end = min(len(text), begin + WINDOW)
        if end < len(text):
            cut = text.rfind(" ", begin + WINDOW // 2, end)
            end = cut if cut > 0 else end
        yield begin, text[begin:end]
        begin = end


def _folder(kind: str, rest: str) -> str:
    if not Path(rest).expanduser().is_dir():
        raise UsageError(f"model '{kind}:{rest}': no such folder; save the model on this machine and give its folder")
    return str(Path(rest).expanduser())


def _spacy(rest: str) -> Callable[[str], Iterator[tuple[int, int, str, float]]]:
    import spacy

    try:
        pipeline = spacy.load(rest)
    except OSError:
        raise UsageError(
            f"spaCy has no model '{rest}' here: python -m spacy download {rest}, or give its folder"
        ) from None

    def read(text: str) -> Iterator[tuple[int, int, str, float]]:
        for entity in pipeline(text).ents:
            yield entity.start_char, entity.end_char, entity.label_, SPACY_SCORE

    return read


def _transformers(rest: str) -> Callable[[str], Iterator[tuple[int, int, str, float]]]:
    folder = _folder("transformers", rest)
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model: Any = AutoModelForTokenClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        make: Any = pipeline
        tagger = make("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple")
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"model 'transformers:{rest}': not a token classifier that can be loaded: {first}") from None

    def read(text: str) -> Iterator[tuple[int, int, str, float]]:
        for entity in tagger(text):
            yield int(entity["start"]), int(entity["end"]), str(entity["entity_group"]), float(entity["score"])

    return read


def _gliner(rest: str) -> Callable[[str], Iterator[tuple[int, int, str, float]]]:
    folder = _folder("gliner", rest)
    if not any(Path(folder).glob("*.safetensors")):
        raise ModelError(f"{folder}: no safetensors weights in it, and pickled ones can run code when they load")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from gliner import GLiNER

    model = GLiNER.from_pretrained(folder, local_files_only=True)

    def read(text: str) -> Iterator[tuple[int, int, str, float]]:
        for entity in model.predict_entities(text, list(_GLINER_LABELS)):
            yield int(entity["start"]), int(entity["end"]), str(entity["label"]), float(entity["score"])

    return read
