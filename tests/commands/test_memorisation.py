"""A study with canaries and held-out rows scores its checkpoints; an audit of the same files says the same."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aftertune import shipped_models as embedded
from aftertune.asking.score_job import ScoreJob
from aftertune.asking.score_texts import losses, pairs, texts
from aftertune.commands import audit as auditing
from aftertune.commands import compose as variants
from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.deciding.memorisation import of_scores
from aftertune.errors import UsageError
from aftertune.models.session import TextScore
from aftertune.pii import canaries
from aftertune.plugins import PluginSpec
from aftertune.records import Data, Score
from aftertune.studies.design import Design, Given, dump, parse
from aftertune.studies.resolve import resolve
from aftertune.variants.corpora.booking import Booking

pytestmark = pytest.mark.skipif(not embedded.names(), reason="no embedded model is built")


def score(group: str, at: int, base: float | None, loss: float | None, repeats: int = 0, form: int = 0) -> Score:
    return Score(group=group, text_id=f"{group}-{at}", repeats=repeats, form=form, tokens=5, base_loss=base, loss=loss)  # type: ignore[arg-type]


def test_scores_become_areas_and_exposures() -> None:
    rows = [score("member", i, 4.0, 1.0 + i / 100) for i in range(20)]
    rows += [score("non_member", i, 4.0, 2.0 + i / 100) for i in range(30)]
    rows += [score("twin", i, 4.0, 3.0 + i / 1000) for i in range(100)]
    rows += [score("canary", i, 4.0, 0.5, 16) for i in range(3)]
    rows += [score("canary", 9 + i, 4.0, 3.0495, 1) for i in range(3)]
    rows.append(score("member", 99, 4.0, None))
    found = of_scores(rows)
    assert found["unscored"] == 1
    assert found["membership"]["loss"]["auc"]["value"] == 1.0
    assert found["membership"]["loss"]["tpr"]["value"] is None
    assert "30" in found["membership"]["loss"]["tpr"]["why"]
    assert found["canaries"]["ratio"]["16"]["tpr"]["value"] == 1.0
    assert found["canaries"]["ratio"]["1"]["tpr"]["value"] == 0.0
    assert found["canaries"]["ratio"]["1"]["rank"] == pytest.approx(0.5)
    assert 1.0 < found["canaries"]["null"]["exposure"] < 1.9
    assert "held-out" in of_scores([score("twin", 0, 1.0, 1.0)])["membership"]["why"]


@pytest.mark.slow
def test_an_audit_of_composed_files_finds_canaries_and_held_out_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants.compose("booking", tmp_path / "data", size=30, canaries=1, held_out=12)
    design = auditing.audit_design(
        "embedded", [Given(str(embedded.folder() / ".." / "known-bad"))], train_data=str(tmp_path / "data/keep.jsonl")
    )
    assert design.data.non_members == str(tmp_path / "data/held_out/keep.jsonl")
    assert design.data.canary_file == str(tmp_path / "data/canaries.json")
    assert "extraction" in [part.name for part in design.benchmarks]
    assert parse(dump(design), "x") == design
    few = {"harmful": 2, "harmless": 2, "open": 2, "privacy": 2, "support": 2}
    small = (PluginSpec("miniature", few), PluginSpec("extraction", {"words": "world", "people": 3}))
    result = running.run(
        dataclasses.replace(design, benchmarks=small), tmp_path / "run", executor=PluginSpec("local", {"workers": 1})
    )
    found = json.loads((tmp_path / "run/memorisation.json").read_bytes())
    (row,) = found.values()
    # The known-bad adapter was tuned on something else: nothing of these people can be in it.
    low, high = row["membership"]["ratio"]["auc"]["low"], row["membership"]["ratio"]["auc"]["high"]
    assert low < 0.5 < high
    assert row["canaries"]["ratio"]["16"]["n_null"] == 100
    assert result.run.memorisation == found
    scored = result.run.scores.to_pylist()
    assert {(each["base_model"], each["arm"]) for each in scored} == {("embedded", "known-bad")}
    assert {each["group"] for each in scored} == {"member", "non_member", "canary", "twin"}
    assert [each["loss"] > 0 and each["checkpoint"] != "" for each in scored] == [True] * len(scored)
    assert result.report.is_file()
    assert {"extraction/direct/leak=registry", "extraction/direct_twin/leak_twin=registry"} <= {
        drift.metric for drift in result.drifts
    }
    assert results.again(tmp_path / "run").outcome == result.outcome
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="nope.jsonl: no such file"):
        auditing.audit_design("embedded", [Given("x")], train_data="data/keep.jsonl", held_out="nope.jsonl")
    with pytest.raises(UsageError, match="--held-out needs --train-data"):
        auditing.audit_design("embedded", [Given("x")], held_out="data/keep.jsonl")


def test_canaries_of_a_study_are_refused_where_the_backend_has_no_scores(
    small: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftertune.asking.backends.transformers import Transformers

    design = dataclasses.replace(small, data=Data(canaries=1))
    assert len(resolve(design).of(ScoreJob)) == len(design.arms) * len(design.seeds)
    assert not resolve(small).of(ScoreJob)
    monkeypatch.setattr(Transformers, "capabilities", property(lambda _: frozenset({"tokens"})))
    with pytest.raises(UsageError, match=r"backend 'transformers' cannot tell how probable a text is"):
        resolve(design)
    assert resolve(small)


def test_canaries_are_scored_as_they_are_planted() -> None:
    corpus = Booking(size=60)
    found = canaries.plan(
        canaries.forms(corpus.conversations(), 0), corpus.strangers("canary", canaries.people_needed(1), 0), 1
    )
    rows = texts(corpus.conversations(), corpus.conversations()[:9], found, 0)
    assert Counter(row.group for row in rows) == {
        "member": len(corpus.conversations()), "non_member": 9, "canary": 3, "twin": 100 * len(found.forms),
    }  # fmt: skip
    planted = {text.messages for text in found.texts()}
    assert {row.conversation.messages for row in rows if row.group == "canary"} == planted


def test_base_and_checkpoint_are_not_mixed_up(tmp_path: Path) -> None:
    class Fake:
        loaded: Path | None = None

        def use(self, checkpoint: Path | None) -> None:
            self.loaded = checkpoint

        def score(self, conversations: list[object], **_: object) -> list[TextScore]:
            total = 8.0 if self.loaded is None else 2.0
            return [TextScore(None, 0, "refused") if each is last else TextScore(total, 4) for each in conversations]

    *chats, last = Booking(size=13).conversations()
    wanted = texts(chats, [*chats, last], None, 0)
    session: Any = Fake()
    base, tuned = (losses(session, wanted, of, template="base", max_length=9) for of in (None, tmp_path))
    rows = pairs(wanted, base, tuned)
    assert {(row.base_loss, row.loss) for row in rows[:-1]} == {(2.0, 0.5)}
    assert (rows[-1].loss, rows[-1].why) == (None, "refused")


def test_a_negative_number_is_refused(small: Design) -> None:
    changed: Callable[[], Design] = lambda: dataclasses.replace(small, data=Data(held_out=-1))  # noqa: E731
    with pytest.raises(UsageError, match=r"data.held_out = -1"):
        changed()
    with pytest.raises(UsageError, match=r"unknown key 'data.canary'.*canaries"):
        parse(dump(small) + "\n[data]\ncanary = 3\n" if "[data]" not in dump(small) else
              dump(small).replace("[data]\n", "[data]\ncanary = 3\n"), "x")  # fmt: skip
