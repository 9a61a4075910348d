"""Tables that close a report are read from the design, checked when it is planned, and part of no id."""

from __future__ import annotations

import dataclasses

import pytest

from aftertune.errors import UsageError
from aftertune.studies import design
from aftertune.studies.resolve import resolve

TEXT = """
name = "s"
seeds = [1, 2]
[corpus]
name = "booking"
size = 50
[[arms]]
name = "keep"
[[arms]]
name = "hidden"
pii = "placeholder"
[[benchmarks]]
name = "miniature"
[[judges]]
name = "world"
[[judges]]
name = "refusal"
[[contrasts]]
name = "PII"
weights = { keep = 1, hidden = -1 }
[[tables]]
title = "T"
source = "a paper, table 2"
columns = [
  { name = "Refused", metric = "miniature/harmful/refusal=full", unit = "%" },
  { name = "Change", what = "drift", metric = "miniature/harmful/refusal=full", judge = "refusal" },
]
rows = [
  { label = "Base", arm = "base", published = { Refused = 42.6 } },
  { label = "Kept", arm = "keep", published = { Refused = "single digits", Change = -40 } },
]
[[tables]]
title = "Pooled"
columns = [
  { name = "Mixed", what = "mixed_sign", metric = "miniature/harmful/*" },
  { name = "Agree", what = "agreement", metric = "miniature/harmful/refusal=full", against = "miniature/open/coherence=coherent" },
]
rows = [{ label = "All" }]
[[tables]]
title = "Contrasts"
columns = [{ name = "Refused", what = "drift", metric = "miniature/harmful/refusal=full" }]
rows = [{ label = "PII", contrast = "PII" }]
"""


def test_tables_survive_their_own_toml_and_are_part_of_no_id() -> None:
    made = design.parse(TEXT, "s.toml")
    assert resolve(made).design.tables == made.tables
    assert [len(table.rows) for table in made.tables] == [2, 1, 1]
    assert design.parse(design.dump(made), "again") == made
    assert made.id == dataclasses.replace(made, tables=()).id
    assert made.id != dataclasses.replace(made, seeds=(1, 3)).id


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('arm = "keep", published', 'arm = "kep", published', "row 'Kept': no arm 'kep' \\(did you mean 'keep'"),
        ('contrast = "PII"', 'contrast = "PI"', "no contrast 'PI' \\(did you mean 'PII'"),
        ('arm = "keep", published', 'arm = "keep", recipe = "lor", published', "no recipe 'lor' \\(did you mean 'lora'"),
        ('arm = "keep", published', 'arm = "keep", base = "x", published', "no base 'x'"),
        ('what = "drift", metric = "miniature/harmful/refusal=full", judge', 'what = "drft", metric = "m", judge', "'drft' \\(did you mean 'drift'"),
        ("published = { Refused = 42.6", "published = { Refusd = 42.6", "published: no column 'Refusd' \\(did you mean 'Refused'"),
        ("published = { Refused = 42.6", "published = { Refused = true", "published.Refused must be a number or text"),
        ("published = { Refused = 42.6", "expected = { Refusd = 'up'", "expected: no column 'Refusd' \\(did you mean 'Refused'"),
        ("published = { Refused = 42.6", "expected = { Refused = 'falls'", "expected.Refused: 'falls' is no rule"),
        ("published = { Refused = 42.6", "expected = { Refused = 'up'", "expected.Refused: the base does not move"),
        ("published = { Refused = 42.6", "expected = { Refused = 'beyond chance'", "belongs to columns with what = 'mixed_sign'"),
        ('{ label = "All" }', '{ label = "All", expected = { Mixed = "over 10" } }', "belongs to columns with what = 'mixed_sign'"),
        ('name = "Change", what', 'name = "Refused", what', "two columns are called 'Refused'"),
        ('rows = [{ label = "All" }]', 'rows = [{ label = "All", arm = "base" }]', "about tuned checkpoints"),
        ('rows = [{ label = "All" }]', "rows = []", "at least one column and one row"),
        (', against = "miniature/open/coherence=coherent"', "", "name the other as `against`"),
        ('contrast = "PII" }]', 'contrast = "PII", arm = "keep" }]', "an arm or a contrast, not both"),
        ('{ label = "Base", arm = "base",', '{ label = "Base",', "needs to know the arm"),
        ('label = "Kept"', 'lable = "Kept"', "unknown key 'tables\\[0\\].rows\\[1\\].lable' \\(did you mean 'label'"),
        ('rows = [{ label = "PII"', 'rows = [{ epoch = "x", label = "PII"', "epoch: expected int"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_table_is_named_with_the_near_miss(old: str, new: str, message: str) -> None:
    text = TEXT.replace(old, new, 1) if "recipe = " in new or 'arm = "kep"' in new else TEXT.replace(old, new)
    assert text != TEXT
    with pytest.raises(UsageError, match=message):
        design.parse(text, "s.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('refusal=full", unit', 'refusal=ful", unit', "no metric 'miniature/harmful/refusal=ful' \\(did you mean"),
        ('judge = "refusal"', 'judge = "refusals"', "no judge 'refusals' \\(did you mean 'refusal'"),
        ('against = "miniature/open/coherence=coherent"', 'against = "miniature/open/x"', "against: no metric"),
        ('metric = "miniature/harmful/*"', 'metric = "xstest/*"', "no metric is like 'xstest/\\*'"),
        ('name = "Mixed", what = "mixed_sign"', 'name = "Mixed", what = "d_prime"', "no metric 'miniature/harmful/\\*' \\(did you mean 'miniature/harmful'"),
        ('name = "Mixed", what = "mixed_sign"', 'name = "Mixed", what = "memorised"', "no metric 'miniature/harmful/\\*'"),
        ('{ name = "Refused", metric = "miniature/harmful/refusal=full", unit', '{ name = "Refused", what = "membership_auc", metric = "ratio", unit', "no text is scored: no held-out rows"),
        ('metric = "miniature/harmful/refusal=full", judge = "refusal"', 'metric = "miniature/open/coherence=coherent", judge = "refusal"', "judge 'refusal' has no axis coherence"),
    ],
)  # fmt: skip
def test_a_metric_that_nothing_measures_is_refused_when_planned(old: str, new: str, message: str) -> None:
    text = TEXT.replace(old, new)
    assert text != TEXT
    text = text.replace('rows = [{ label = "All" }]', 'rows = [{ label = "All", arm = "keep" }]')
    with pytest.raises(UsageError, match=message):
        resolve(design.parse(text, "s.toml"))


def test_with_several_bases_a_row_says_which() -> None:
    text = TEXT.replace('name = "s"', 'name = "s"\nbases = ["embedded:mini-a", "embedded:mini-b"]')
    with pytest.raises(UsageError, match="2 bases: name one"):
        design.parse(text, "s.toml")
