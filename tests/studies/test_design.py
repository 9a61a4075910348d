from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.commands import demo
from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Recipe
from aftertune.studies import design

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
name = "refusal"
[[contrasts]]
name = "PII"
[contrasts.weights]
keep = 1
hidden = -1
"""


def test_a_design_survives_its_own_toml() -> None:
    for made in (design.parse(TEXT, "s.toml"), demo.design(), demo.design(quick=True)):
        again = design.parse(design.dump(made), "again")
        assert again == made
        assert again.id == made.id


LARGE = """
name = "large"
bases = ["embedded:mini-a", "embedded:mini-b"]
seeds = [1, 2]
[corpus]
name = "booking"
[corpora.medical]
name = "domain"
domain = "medical"
size = 40
[corpora.legal]
name = "domain"
domain = "legal"
[[recipes]]
name = "lora"
[[recipes]]
name = "full"
method = "full"
[[recipes]]
name = "q"
method = "qlora"
without_gpu = "leave_out"
[[arms]]
name = "plain"
[[arms]]
name = "med"
corpus = "medical"
[[arms]]
name = "law"
corpus = "legal"
recipes = ["lora", "full"]
[[checkpoints]]
path = "x"
base = "embedded:mini-a"
arm = "med"
recipe = "else"
[[benchmarks]]
name = "miniature"
[[judges]]
name = "refusal"
[[contrasts]]
name = "domain"
weights = { med = 1, law = -1 }
[[contrasts]]
name = "method"
weights = { "med/lora" = 1, "med/full" = -1 }
"""


def test_a_design_names_corpora_recipes_and_bases() -> None:
    made = design.parse(LARGE, "large.toml")
    again = design.parse(design.dump(made), "again")
    assert again == made
    assert list(made.sources) == ["", "medical", "legal"]
    assert made.sources["medical"] == PluginSpec("domain", {"domain": "medical", "size": 40})
    plain, med, law = made.arms
    assert (plain.corpus, med.corpus, law.corpus) == ("", "medical", "legal")
    assert [each.name for each in made.recipes_of(plain)] == ["lora", "full", "q"]
    assert [each.name for each in made.recipes_of(law)] == ["lora", "full"]
    assert made.corpus_of(made.checkpoints[0]) == "medical", "that of its arm"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('corpus = "medical"', 'corpus = "medcal"', "arms\\[1\\].corpus: no corpus 'medcal' \\(did you mean 'medical'"),
        (
            'recipes = ["lora", "full"]',
            'recipes = ["ful"]',
            "arms\\[2\\].recipes: no recipe 'ful' \\(did you mean 'full'",
        ),
        ('base = "embedded:mini-a"', 'base = "embedded:mini-"', "checkpoints\\[0\\].base: no base .*did you mean"),
        ('base = "embedded:mini-a"', "", "checkpoints\\[0\\]: name its base, one of embedded:mini-a, embedded:mini-b"),
        ('arm = "med"', 'corpus = "legl"', "checkpoints\\[0\\].corpus: no corpus 'legl' \\(did you mean 'legal'"),
        ('name = "full"', 'name = "lora"', "recipe 'lora' stands twice"),
        ('name = "full"', 'name = "a/b"', "name 'a/b'"),
        ('method = "full"', 'method = "qlra"', "recipes\\[1\\].method: 'qlra' \\(did you mean 'qlora'"),
        ('method = "full"', "rank = 0", "recipes\\[1\\].rank = 0: must be above 0"),
        ('"med/full"', '"med/ful"', "no arm and recipe 'med/ful' \\(did you mean 'med/full'"),
        ('"med/full"', '"law/q"', "no arm and recipe 'law/q'"),
        ('name = "domain"\ndomain = "legal"', 'domain = "legal"', "corpora.legal: needs a 'name'"),
        ('[corpus]\nname = "booking"\n', "", "arms\\[0\\].corpus: name one of \\[corpora"),
        ('corpus = "legal"', 'corpus = "medical"', "corpora.legal: no arm is made from it"),
        ("[[recipes]]", "[recipe]\nepochs = 2\n[[recipes]]", "\\[recipe\\] and \\[\\[recipes\\]\\] are both given"),
        ("[[benchmarks]]", '[data]\ncanary_file = "c.json"\n[[benchmarks]]', "belong to one corpus"),
        ('name = "plain"', 'name = "source"', "cannot be called 'source'"),
    ],
)
def test_a_mistake_in_the_larger_keys_is_named(old: str, new: str, message: str) -> None:
    assert old in LARGE
    with pytest.raises(UsageError, match=message):
        design.parse(LARGE.replace(old, new, 1), "large.toml")


NAMES = st.sampled_from(["a", "b", "c.1", "D_2"])
PARTS = st.builds(PluginSpec, NAMES, st.dictionaries(st.sampled_from(["size", "seed"]), st.integers(0, 9)))


@st.composite
def designs(draw: st.DrawFn) -> design.Design:
    corpora = draw(st.dictionaries(NAMES, PARTS, max_size=3))
    recipes = draw(st.lists(NAMES, unique=True, max_size=3))
    bases = draw(st.lists(NAMES, unique=True, min_size=1, max_size=3))
    names = st.sampled_from([*corpora, ""])
    own = st.lists(st.sampled_from(recipes), unique=True).map(tuple) if recipes else st.just(())
    arms = [
        Arm(f"arm{index}", pii=draw(st.sampled_from(["keep", "drop"])), corpus=corpus, recipes=draw(own))
        for index, corpus in enumerate([*corpora, "", *draw(st.lists(names, max_size=3))])
    ]
    existing = st.builds(
        design.Given, NAMES, base=st.sampled_from(bases), corpus=names, seed=st.none() | st.integers(0, 5)
    )
    return design.Design(
        name="d",
        bases=tuple(bases),
        corpus=draw(PARTS),
        corpora=corpora,
        arms=tuple(arms),
        recipes=tuple(Recipe(name, epochs=draw(st.integers(1, 4))) for name in recipes),
        checkpoints=tuple(draw(st.lists(existing, max_size=3))),
        match_tokens=draw(st.booleans()),
    )


@given(designs())
def test_any_design_survives_its_own_toml(made: design.Design) -> None:
    again = design.parse(design.dump(made), "again")
    assert again == made
    assert again.id == made.id


def test_the_id_depends_on_every_field() -> None:
    ids = {
        design.parse(TEXT.replace(old, new), "s").id
        for old, new in (
            ("", ""),
            ("seeds = [1, 2]", "seeds = [1, 3]"),
            ("size = 50", "size = 51"),
            ("= -1", "= -1.0\n#"),
            ('pii = "placeholder"', 'pii = "surrogate"'),
        )
    }
    assert len(ids) == 4, "a comment and a float for an integer change nothing; each of the others does"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds =", "seedz =", "unknown key 'seedz' \\(did you mean 'seeds'\\?\\)"),
        ('pii = "placeholder"', 'pii = "placehodler"', "arms\\[1\\].pii: 'placehodler' \\(did you mean 'placeholder'"),
        ('pii = "placeholder"', 'pi = "keep"', "unknown key 'arms\\[1\\].pi' \\(did you mean 'pii'"),
        ("seeds = [1, 2]", 'seeds = ["a"]', "seeds\\[0\\]: expected int, found str 'a'"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "seed '1' stands twice"),
        ('name = "hidden"', 'name = "../x"', "name '../x'"),
        ('name = "hidden"', 'name = "base"', "cannot be called 'base'"),
        ("hidden = -1", "hiden = -1", "no arm 'hiden' \\(did you mean 'hidden'"),
        ("hidden = -1", "hidden = -2", "must sum to 0"),
        ('name = "s"', "name = ", "not valid TOML"),
        ("seeds = [1, 2]", "confidence = 95", "confidence = 95.0: give a share"),
    ],
)
def test_a_mistake_is_named_with_the_near_miss(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as caught:
        design.read(path)
    assert str(path) in str(caught.value)


@given(st.text(max_size=60) | st.sampled_from(TEXT.splitlines()).map(lambda line: TEXT.replace(line, line[:-1])))
def test_fuzzed_toml_never_ends_in_a_traceback(text: str) -> None:
    try:
        design.parse(text, "fuzz.toml")
    except UsageError as error:
        assert str(error).startswith("fuzz.toml: ")


def test_files_beside_the_design_are_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_text("x")
    (tmp_path / "adapter").mkdir()
    text = TEXT.replace('name = "booking"\nsize = 50', 'name = "chat_file"\npath = "chats.jsonl"')
    text += '[[checkpoints]]\npath = "adapter"\n[[checkpoints]]\npath = "owner/model"\n'
    (tmp_path / "s.toml").write_text(text)
    made = design.read(tmp_path / "s.toml")
    assert made.corpus is not None
    assert made.corpus.parameters["path"] == str(tmp_path / "chats.jsonl")
    assert [given.path for given in made.checkpoints] == [str(tmp_path / "adapter"), "owner/model"]
    assert made.bases == ("embedded",)
