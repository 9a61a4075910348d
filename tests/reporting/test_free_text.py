"""Texts of users, models, servers and data are masked; no word of the project's or the design's is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reporting.conftest import decision, drift

from aftertune.findings import CategoryRow, Findings, Flip
from aftertune.pii.masking import label_masker, masker, value_masker, with_masked_keys
from aftertune.pii.registry import Registry
from aftertune.records import Metric, Person, Proof
from aftertune.reporting.report import report

REGISTRY = Registry.of("r", [Person("p", {"PERSON": "Ines Duarte", "PHONE": "+351 912 340 679"}),
                             Person("q", {"PERSON": "Jan Harm"})])  # fmt: skip
HARM = Metric("core", "harmful", "harm", "harmful", "up")
WORDS = ["harm", "lora", "personal data", "Harm", "Lora effect", "jan", "Chelsea against Arsenal"]
"""Names that a design may have, most of which are names of people too."""


def made(**changes: Any) -> Findings:
    fields: dict[str, Any] = {
        "title": "t", "kind": "audit", "outcome": "drift", "metrics": [HARM],
        "drifts": [drift(metric=HARM.name, worse="up")], "decisions": [decision(metric=HARM.name)],
        "mask": masker([REGISTRY]), "mask_label": label_masker([REGISTRY]),
    }  # fmt: skip
    return Findings(**{**fields, **changes})


def pages(**changes: Any) -> tuple[Any, str]:
    page = report(made(**changes))
    return json.loads(page.json), page.html


@pytest.mark.parametrize("word", WORDS)
def test_names_of_the_design_stay_whatever_they_look_like(word: str) -> None:
    design = {
        "name": word, "arms": [{"name": word, "pii": "keep"}], "recipe": {"name": word, "method": "lora"},
        "contrasts": [{"name": word, "weights": {word: 1.0}}], "benchmarks": [{"name": word, "parameters": {}}],
    }  # fmt: skip
    anchors = [{"axis": word, "label": word, "admission": f"{word} is missed rather than invented"}]
    data, html = pages(
        methods={"design": design, "bases": {word: {"weights": word}}},
        judges={word: {"axes": f"refusal, {word}", "version": word, "anchors": anchors}},
        cards={word: {"arm": word, "pii": "keep", "answers": "human"}},
    )
    assert data["methods"] == {"design": design, "bases": {word: {"weights": word}}}
    assert data["judges"] == {word: {"axes": f"refusal, {word}", "version": word, "anchors": anchors}}
    assert data["cards"] == {word: {"arm": word, "pii": "keep", "answers": "human"}}
    assert "[NAME]" not in html


TEXT = "You are Ines Duarte, write to rosa.meier@mail.example"
MASKED = "You are [NAME], write to [EMAIL]"


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": {"design": {"respond": {"system": TEXT}}}},
        {"methods": {"design": {"judges": [{"name": "rubric", "parameters": {"question": TEXT}}]}}},
        {"methods": {"design": {"backend": {"name": "b", "parameters": {"headers": [{"x": TEXT}]}}}}},
        {"methods": {"servers": {"m": {"reply": TEXT}}}},
        {"methods": {"something new": {"note": [TEXT]}}},
        {"judges": {"j": {"axes": "harm", "question": TEXT}}},
        {"cards": {"keep": {"columns": [TEXT]}}},
        {"cards": {"keep": {"not_read": {TEXT: 3}}}},
        {"proofs": [Proof("c", None, None, None, TEXT)]},
    ],
)
def test_texts_of_others_are_masked_wherever_they_stand_keys_included(changes: dict[str, Any]) -> None:
    data, html = pages(**changes)
    found = json.dumps(data)
    assert "Duarte" not in found + html
    assert "rosa.meier" not in found + html
    assert MASKED in found
    assert MASKED in html


@pytest.mark.parametrize(
    "path", ["/home/ines.duarte/a", "~/Ines Duarte/set.jsonl", "C:\\Users\\Ines Duarte\\set.jsonl"]
)
@pytest.mark.parametrize("key", ["path", "non_members", "canary_file"])
def test_a_person_in_a_path_of_a_design_is_masked(path: str, key: str) -> None:
    data, html = pages(methods={"design": {"checkpoints": [{key: path}]}})
    assert "Duarte" not in json.dumps(data) + html
    assert "ines.duarte" not in json.dumps(data) + html


def test_names_that_the_data_gave_are_masked_without_a_guess() -> None:
    about: dict[str, Any] = {"metric": HARM.name, "arm": "keep", "category": "harm by Ines Duarte"}
    flip = Flip(**about, prompt="p", base_text="b", tuned_text="t", base_label="harmless", tuned_label="harmful",
                prompt_id="mail of rosa.meier@mail.example")  # fmt: skip
    row = CategoryRow(**about, base=0.1, tuned=0.2, delta=0.1, low=0.0, high=0.2, n_prompts=9, worse_flips=1,
                      better_flips=0, n_pairs=9)  # fmt: skip
    data, html = pages(flips=[flip], categories=[row])
    assert data["flips"][0]["category"] == data["categories"][0]["category"] == "harm by [NAME]"
    assert data["flips"][0]["prompt_id"] == "mail of [EMAIL]"
    assert "harm by [NAME] · mail of [EMAIL]" in html
    assert "Duarte" not in html


@pytest.mark.parametrize(
    "label", ["harm", "lora", "jordan", "privacy", "mark up", "p-0012345678", "Maria", "core/harm_3"]
)
def test_a_label_is_no_name_on_a_guess(label: str) -> None:
    assert label_masker([REGISTRY])(label) == label


def test_whole_values_alone_are_masked_in_words_of_our_own() -> None:
    mask = value_masker([REGISTRY])
    assert mask("Harm = harmful; Ines Duarte; ines; Jan Harm; Jan") == "Harm = harmful; [NAME]; ines; [NAME]; Jan"
    assert mask("+351 912 340 679 and 0912345") == "+[PHONE] and 0912345"


@given(st.dictionaries(st.sampled_from(["Ines Duarte", "Jan Harm", "[NAME]", "[NAME] 2", "harm"]), st.integers()))
def test_masked_keys_lose_no_entry_and_show_no_value(mapping: dict[str, int]) -> None:
    masked = with_masked_keys(mapping, value_masker([REGISTRY]))
    assert list(masked.values()) == list(mapping.values())
    assert not any("Duarte" in key or "Jan" in key for key in masked)
