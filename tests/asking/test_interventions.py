"""Changes within a running model: what is changed is what was asked for, it reaches answers, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import tiny_models
from tests.tiny_models import FAMILIES, Family

from aftertune.asking.backends.endpoint import Endpoint
from aftertune.asking.backends.transformers import Transformers
from aftertune.errors import ModelError
from aftertune.models.session import Beginnings, Request, Session, StreamChange
from aftertune.records import Message, Prompt

TEXTS = ("Good morning", "How do I repair a bicycle tyre?", "No", "Where would you like to go? Answer shortly.")
PROMPTS = tuple(Prompt(f"p{at}", "test", "s", "c", "k", (Message("user", text),)) for at, text in enumerate(TEXTS))
LAYERS, WIDTH = 3, 32


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interventions")
    for family in FAMILIES:
        tiny_models.save(family, folder / family / "base", num_hidden_layers=LAYERS)
        tiny_models.save(family, folder / family / "full", seed=9, num_hidden_layers=LAYERS)
        tiny_models.save_adapter(folder / family / "base", folder / family / "adapter", scale=0.2)
    tiny_models.save("llama", folder / "deeper", num_hidden_layers=LAYERS + 1)
    return folder


def direction(seed: int = 0) -> NDArray[np.float64]:
    vector = np.random.default_rng(seed).normal(size=WIDTH)
    return np.asarray(vector / np.linalg.norm(vector))


def seen(session: Session) -> NDArray[np.float32]:
    return session.activations(PROMPTS, system=None, template="base")


def opens(session: Session) -> NDArray[np.float64]:
    """Return how probable two beginnings are, which hangs on the whole model."""
    items = [Beginnings(prompt, ("Good", "No")) for prompt in PROMPTS]
    return np.array([score.log_probabilities for score in session.beginnings(items, system=None, template="base")])


def said(session: Session) -> list[str]:
    requests = [Request(prompt, 0.0, 0, 1, 8) for prompt in PROMPTS]
    return [reply.text for reply in session.respond(requests, system=None, template="base")]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["merged", "unmerged"])
def test_a_direction_is_taken_out_or_added_where_it_was_asked_for(
    family: Family, how: Literal["merged", "unmerged"], models: Path
) -> None:
    unit = direction()
    with Transformers(adapters=how).open(str(models / family / "base")) as session:
        session.use(models / family / "adapter")
        before, options = seen(session), opens(session)
        with session.changed([StreamChange(2, unit)]):
            without, options_without = seen(session), opens(session)
        with session.changed([StreamChange(2, unit, 3.0)]):
            added = seen(session)
        after, options_after = seen(session), opens(session)
    expected = before[:, 2] - (before[:, 2] @ unit)[:, None] * unit
    assert without[:, :2].tobytes() == before[:, :2].tobytes(), "the layers below stay"
    assert np.abs(without[:, 2] @ unit).max() < 1e-4
    # Other positions changed alike, so that only the layer's own output is known beforehand.
    np.testing.assert_allclose(without[:, 2], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(added[:, 2], before[:, 2] + 3 * unit, rtol=1e-3, atol=1e-4)
    assert np.abs(without[:, 3] - before[:, 3]).max() > 1e-3
    assert np.abs(options_without - options).max() > 1e-3
    assert after.tobytes() == before.tobytes()
    assert options_after.tobytes() == options.tobytes()


def test_it_reaches_what_is_said(models: Path) -> None:
    with Transformers().open(str(models / "llama" / "base")) as session:
        before = said(session)
        with session.changed([StreamChange(layer, direction(layer), 40.0) for layer in (1, 2, 3)]):
            changed = said(session)
        with session.changed([]):
            assert said(session) == before
        assert changed != before
        assert said(session) == before


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["merged", "unmerged"])
def test_all_layers_are_the_checkpoint_and_none_is_the_base(
    family: Family, how: Literal["merged", "unmerged"], models: Path
) -> None:
    with Transformers(adapters=how).open(str(models / family / "base")) as session:
        base = opens(session)
        session.use(models / family / "adapter")
        tuned = opens(session)
        with session.only_tuned((), rest=False):
            np.testing.assert_allclose(opens(session), base, rtol=1e-5, atol=1e-5)
        with session.only_tuned((1, 2, 3), rest=True):
            np.testing.assert_allclose(opens(session), tuned, rtol=1e-5, atol=1e-5)
        assert opens(session).tobytes() == tuned.tobytes()
        session.use(None)
        assert opens(session).tobytes() == base.tobytes()


def test_one_layer_is_the_same_layer_however_the_adapter_is_held(models: Path) -> None:
    found = []
    for how in ("merged", "unmerged"):
        with Transformers(adapters=how).open(str(models / "qwen" / "base")) as session:
            base = seen(session)
            session.use(models / "qwen" / "adapter")
            tuned = seen(session)
            with session.only_tuned((2,)):
                found.append(seen(session))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[0][:, 1], base[:, 1], rtol=1e-5, atol=1e-6)
    assert np.abs(found[0][:, 2] - base[:, 2]).max() > 1e-3
    assert np.abs(found[0][:, 2] - tuned[:, 2]).max() > 1e-3


def test_layers_of_a_full_model_and_what_is_in_no_layer(models: Path) -> None:
    with Transformers().open(str(models / "llama" / "base")) as session:
        base = seen(session)
        session.use(models / "llama" / "full")
        tuned = seen(session)
        with session.only_tuned((), rest=True):
            np.testing.assert_allclose(seen(session)[:, 0], tuned[:, 0], rtol=1e-6), "embeddings of the checkpoint"
            assert np.abs(seen(session)[:, 3] - tuned[:, 3]).max() > 1e-3
        with session.only_tuned((1, 2, 3), rest=False):
            np.testing.assert_allclose(seen(session)[:, 0], base[:, 0], rtol=1e-6)
        with session.only_tuned((1, 2, 3), rest=True):
            assert seen(session).tobytes() == tuned.tobytes()
        with pytest.raises(ZeroDivisionError), session.only_tuned((1,), rest=False):
            raise ZeroDivisionError
        assert seen(session).tobytes() == tuned.tobytes(), "what fails inside leaves nothing behind"
        session.use(None)
        assert seen(session).tobytes() == base.tobytes()


def test_what_does_not_fit_is_refused(models: Path) -> None:
    with Transformers().open(str(models / "llama" / "base")) as session:
        before = seen(session)
        for change, why in (
            (StreamChange(0, direction()), "layer 0: the model has layers 1 to 3"),
            (StreamChange(4, direction()), "layer 4: the model has layers 1 to 3"),
            (StreamChange(1, direction()[:5]), r"direction of shape \(5,\) for activations of 32 dimensions"),
        ):
            with pytest.raises(ModelError, match=why), session.changed([StreamChange(1, direction()), change]):
                pass
        assert seen(session).tobytes() == before.tobytes()


def test_a_server_can_not_be_changed() -> None:
    backend = Endpoint(url="http://127.0.0.1:9/v1")
    assert "interventions" not in backend.capabilities
    assert "interventions" in Transformers().capabilities
