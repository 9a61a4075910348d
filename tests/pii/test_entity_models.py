"""A named-entity model beside the recognisers: spaCy and transformers, made here in seconds; a missing one is one line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from aftertune.cli import main
from aftertune.errors import UsageError
from aftertune.pii import detect, entity_models, scan

FRAMES = ("ask {} about it", "the room of {} is free", "{} paid the bill", "we told {} to wait", "is {} here")
NAMES = ("zibo qarth", "mela trunk", "oru beskin", "pim lodda", "sava kreel", "tolo venn")
UNSEEN = "we told sava beskin to wait"
"""In small letters and on no list: the recognisers do not find it."""


@pytest.fixture(scope="module", name="spacy_folder")
def _spacy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spacy: Any = pytest.importorskip("spacy", reason="spaCy is an optional extra: pip install 'aftertune[pii]'")
    from spacy.training import Example
    from thinc.api import fix_random_seed

    fix_random_seed(0)
    nlp = spacy.blank("en")
    tagger: Any = nlp.add_pipe("ner")
    tagger.add_label("PERSON")
    examples = []
    for frame in FRAMES:
        for name in NAMES:
            text, start = frame.format(name), frame.index("{}")
            examples.append(Example.from_dict(nlp.make_doc(text), {"entities": [(start, start + len(name), "PERSON")]}))
    nlp.initialize(lambda: examples)
    rng = random.Random(0)
    for _ in range(14):
        rng.shuffle(examples)
        nlp.update(examples)
    folder = tmp_path_factory.mktemp("spacy") / "tiny"
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="module", name="transformers_folder")
def _transformers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with weights drawn at random, its last layer set so that every token is somebody's name."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", *UNSEEN.split()]
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("transformers") / "tiny"
    make: Any = PreTrainedTokenizerFast
    tokenizer = make(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label={0: "O", 1: "B-PER"},
        label2id={"O": 0, "B-PER": 1},
    )
    model = BertForTokenClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 3.0]))
    model.save_pretrained(folder)
    return folder


def test_a_trained_spacy_model_finds_what_the_recognisers_do_not(spacy_folder: Path) -> None:
    assert detect.find(UNSEEN) == []
    name = f"spacy:{spacy_folder}"
    (found,) = detect.finder(name)(UNSEEN, None, None)
    assert (UNSEEN[found.start : found.end], found.type) == ("sava beskin", "PERSON")
    assert (found.recogniser, found.score) == (name, entity_models.SPACY_SCORE)
    assert found.why == f"model {name}: PERSON"
    both = detect.finder(name)("we told sava beskin to wait, card 4012 8888 8888 1881", None, None)
    assert [one.type for one in both] == ["PERSON", "CREDIT_CARD"]
    assert [one.recogniser for one in both] == [name, "card"], "our recognisers still read the text"


def test_a_transformers_model_carries_its_name_label_and_score(transformers_folder: Path) -> None:
    name = f"transformers:{transformers_folder}"
    found = detect.finder(name)(UNSEEN, None, None)
    assert found
    assert {(one.type, one.recogniser, one.why) for one in found} == {("PERSON", name, f"model {name}: PER")}
    assert all(one.score == pytest.approx(0.95, abs=0.01) for one in found), "e^3 / (1 + e^3)"
    assert "sava" not in "".join(one.why for one in found)


def test_scan_names_the_model_in_each_finding(
    spacy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text(UNSEEN + "\n")
    assert list(scan.scan(path)) == []
    with pytest.raises(SystemExit):
        main(["pii", "scan", str(path), "--model", f"spacy:{spacy_folder}", "--json"])
    row = json.loads(capsys.readouterr().out)
    assert (row["row"], row["type"], row["recogniser"]) == (0, "PERSON", f"spacy:{spacy_folder}")
    assert "value" not in row


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("spacy:no_such_model", "spaCy has no model 'no_such_model' here|needs the package spacy"),
        ("transformers:no/such/folder", "no such folder"),
        ("gliner:no/such", "no such folder|needs the package gliner"),
        ("flair:x", "unknown kind of model 'flair'"),
    ],
)
def test_a_missing_model_is_one_line(name: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        detect.finder(name)
    assert "\n" not in str(caught.value)
    path = tmp_path / "a.txt"
    path.write_text("x\n")
    with pytest.raises(SystemExit) as left:
        main(["pii", "scan", str(path), "--model", name])
    assert left.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    for kind in ("spacy", "transformers"):
        with pytest.raises(UsageError) as caught:
            detect.finder(f"{kind}:{tmp_path}")
        assert "\n" not in str(caught.value)
