from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import demo, design
from aftertune.errors import UsageError

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


def test_the_id_depends_on_every_field() -> None:
    ids = {design.parse(TEXT.replace(old, new), "s").id for old, new in (
        ("", ""), ("seeds = [1, 2]", "seeds = [1, 3]"), ("size = 50", "size = 51"), ("= -1", "= -1.0\n#"),
        ('pii = "placeholder"', 'pii = "surrogate"'),
    )}  # fmt: skip
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
