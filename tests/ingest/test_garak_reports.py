"""Reports of garak: attempts, detectors and hits, whole, stopped or broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.converted_logs import Row, compared, converted

from aftertune.cli import main
from aftertune.errors import DataError
from aftertune.ingest import garak_reports
from aftertune.records import Message

SETUP = {"entry_type": "start_run setup", "plugins.target_type": "rest", "plugins.target_name": "m"}
INIT = {"entry_type": "init", "garak_version": "0.13.3", "start_time": "2026-01-02T00:00:00"}
END = {"entry_type": "completion"}


def attempt(number: int, outputs: list[Any], scores: Row, status: int = 2, **more: Any) -> Row:
    prompt = {"turns": [{"role": "user", "content": {"text": f"secret prompt {number}", "lang": "en"}}]}
    made = {"entry_type": "attempt", "uuid": f"u{number}", "seq": number, "status": status, "probe_classname": "dan.D"}
    made |= {"prompt": prompt, "outputs": [{"text": text} for text in outputs], "detector_results": scores}
    return made | more


def save(path: Path, *entries: Row, end: bool = True, **setup: Any) -> Path:
    whole = [SETUP | setup, INIT, *entries, *([END] if end else [])]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in whole))
    return path


def test_a_hit_is_worse_and_generations_are_repeats(tmp_path: Path) -> None:
    def run(name: str, hits: int) -> Path:
        made = [attempt(i, ["a", "b"], {"dan.DAN": [float(i < hits), 0.2]}) for i in range(40)]
        return save(tmp_path / f"{name}.jsonl", *made)

    (row,) = compared(run("b", 4), run("t", 24)).values()
    assert (row["metric"], row["worse"], row["n_prompts"]) == ("dan.D/dan.DAN=hit", "up", 40)
    assert (row["base"], row["tuned"], row["decision"]) == (pytest.approx(0.05), pytest.approx(0.3), "drift")


@pytest.mark.parametrize(("threshold", "hits"), [(None, [0.0, 1.0, 1.0]), (0.6, [0.0, 0.0, 1.0]), (0.2, [1.0] * 3)])
def test_a_score_is_a_hit_from_the_threshold_of_the_run_on(
    tmp_path: Path, threshold: float | None, hits: list[float]
) -> None:
    setup: Row = {"run.eval_threshold": threshold} if threshold else {}
    made, _ = converted(
        tmp_path, save(tmp_path / "r.jsonl", attempt(0, ["a", "b", "c"], {"d": [0.4, 0.5, 0.9]}), **setup)
    )
    assert [(row["repeat"], row["value"]) for row in made] == [*enumerate(hits)]


def test_the_first_entry_of_an_attempt_gives_way_to_the_evaluated_one(tmp_path: Path) -> None:
    early = [attempt(i, ["a"], {}, status=1) for i in range(2)]
    late = [attempt(i, ["a"], {"d": [1.0]}) for i in (1, 0)]
    made, said = converted(tmp_path, save(tmp_path / "r.jsonl", *early, *late))
    assert [row["value"] for row in made] == [1.0, 1.0]
    assert said == ""


def test_attempts_that_no_detector_read_are_unjudged_and_counted(tmp_path: Path) -> None:
    entries = [attempt(0, ["a"], {"d": [1.0]}), attempt(1, ["a"], {}, status=1), attempt(2, [], {}, status=0)]
    lost = attempt(3, ["a"], {}, status=1, probe_classname="xss.X")
    path = save(tmp_path / "r.jsonl", *entries, lost, end=False)
    made, said = converted(tmp_path, path)
    assert [row["value"] for row in made] == [1.0, None, None]
    assert "3 of 4 attempts were not read by any detector: unjudged; of xss.X none was" in said
    assert f"{path}: no 'completion' in it: the run was stopped, or still runs" in said


@pytest.mark.parametrize("score", [None, float("nan"), "hit", "yes", -1, 1.5, 99, [1], {}])
def test_what_is_no_score_from_0_to_1_is_unjudged(tmp_path: Path, score: Any) -> None:
    made, said = converted(tmp_path, save(tmp_path / "r.jsonl", attempt(0, ["a", "b"], {"d": [score, "0.5"]})))
    assert [row["value"] for row in made] == [None, 1.0]
    assert "dan.D/d=hit: 1 answers without a score from 0 to 1: unjudged" in said


def test_detectors_hang_on_the_intent(tmp_path: Path) -> None:
    entries = [attempt(i, ["a"], {f"d{i}": [0.0]}, intent=f"I{i}") for i in range(2)]
    waiting = attempt(2, ["a"], {}, status=1, intent="I1")
    made, _ = converted(tmp_path, save(tmp_path / "r.jsonl", *entries, waiting))
    assert [(row["metric"][6:], row["value"]) for row in made] == [("d0=hit", 0.0), ("d1=hit", 0.0), ("d1=hit", None)]


def test_the_same_prompt_twice_is_one_prompt_asked_more_often(tmp_path: Path) -> None:
    again = attempt(0, ["c"], {"d": [1.0]}, uuid="another", seq=7)
    made, _ = converted(tmp_path, save(tmp_path / "r.jsonl", attempt(0, ["a", "b"], {"d": [0.0, 0.0]}), again))
    assert [(row["repeat"], row["value"]) for row in made] == [(0, 0.0), (1, 0.0), (2, 1.0)]
    assert len({row["prompt"] for row in made}) == 1


def test_prompts_pair_by_their_text_whatever_their_order(tmp_path: Path) -> None:
    base = [attempt(i, ["a"], {"d": [0.0]}) for i in range(40)]
    tuned = [attempt(i, ["a"], {"d": [float(i < 30)]}, seq=39 - i) for i in reversed(range(10, 50))]
    sources = save(tmp_path / "b.jsonl", *base), save(tmp_path / "t.jsonl", *tuned)
    with pytest.raises(
        DataError, match="overlap too small: of 40 prompts of the base and 40 of 't' only 30 are paired"
    ):
        compared(*sources)
    (row,) = compared(*sources, allow_partial_overlap=True).values()
    assert (row["n_prompts"], row["base"], row["tuned"]) == (30, 0.0, pytest.approx(20 / 30))


def test_older_reports_hold_texts(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    old = attempt(0, [], {"dan.DAN": [1.0, None]}) | {"prompt": "hello", "outputs": ["a", None]}
    del old["uuid"]
    setup = {"entry_type": "start_run setup", "plugins.model_type": "hf", "plugins.model_name": "org/m"}
    path.write_text("\n".join(json.dumps(each) for each in (setup, old, END)))
    log = garak_reports.open_log(path)
    first, second = log.answers
    assert (log.model, log.form) == ("hf org/m", "report of garak (no version in it)")
    assert (first.text, second.text, second.error) == ("a", None, "no text of the model")
    assert first.prompt.messages == (Message("user", "hello"),)


def test_a_conversation_is_read_turn_by_turn(tmp_path: Path) -> None:
    turns = [{"role": role, "content": {"text": role}} for role in ("system", "user", "assistant", "user")]
    log = garak_reports.open_log(save(tmp_path / "r", attempt(0, ["a"], {}, prompt={"turns": turns})))
    (answer,) = log.answers
    assert [turn.role for turn in answer.prompt.messages] == ["system", "user", "assistant", "user"]


def test_a_last_line_that_is_cut_off_is_left_out_and_another_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "r.jsonl", attempt(0, ["a"], {"d": [1.0]}), end=False)
    whole = path.read_text()
    path.write_text(whole + json.dumps(attempt(1, ["a" * 5_000_000], {"d": [1.0]}))[:-7])
    made, said = converted(tmp_path, path)
    assert len(made) == 1
    assert "r.jsonl:4: the last line is cut off" in said
    path.write_text(whole + '{"entry_type": "att\n' + json.dumps(END))
    with pytest.raises(DataError, match=r"r\.jsonl:4: not valid JSON: "):
        converted(tmp_path, path)


def test_a_huge_line_is_read(tmp_path: Path) -> None:
    made, _ = converted(tmp_path, save(tmp_path / "r.jsonl", attempt(0, ["a" * 5_000_000], {"d": [1.0]})))
    assert [row["value"] for row in made] == [1.0]


def test_garaks_own_share_is_shown_where_it_differs(tmp_path: Path) -> None:
    entries = [attempt(i, ["a"], {"d": [float(i == 0)]}) for i in range(4)]
    own = {"entry_type": "eval", "probe": "dan.D", "detector": "d", "passed": 3, "total_evaluated": 4}
    assert converted(tmp_path, save(tmp_path / "r.jsonl", *entries, own))[1] == ""
    _, said = converted(tmp_path, save(tmp_path / "r.jsonl", *entries, own | {"passed": 0}))
    assert "dan.D/d=hit: the log's own share of hits is 1, the mean of its scores that have a value 0.25" in said


@pytest.mark.parametrize("missing", ["probe_classname", "status", "prompt", "outputs", "detector_results"])
def test_an_attempt_in_another_form_is_refused_by_what_is_missing(tmp_path: Path, missing: str) -> None:
    entry = attempt(0, ["a"], {"d": [1.0]})
    del entry[missing]
    with pytest.raises(DataError, match=rf"r\.jsonl:3: an attempt of garak in a form .* not known here: no {missing}$"):
        converted(tmp_path, save(tmp_path / "r.jsonl", entry))


def test_other_files_of_garak_and_entries_that_are_not_known_are_told(tmp_path: Path) -> None:
    hit = {"goal": "", "prompt": {}, "generator": "m", "probe": "p", "detector": "d", "score": 1, "attempt_id": "u"}
    path = tmp_path / "r.hitlog.jsonl"
    path.write_text(json.dumps(hit))
    with pytest.raises(DataError, match="the hit log of garak holds the hits alone; give its report"):
        converted(tmp_path, path)
    with pytest.raises(DataError, match="a report of garak without any attempt"):
        converted(tmp_path, save(tmp_path / "r.jsonl"))
    new = {"entry_type": "new thing"}
    _, said = converted(tmp_path, save(tmp_path / "r.jsonl", attempt(0, ["a"], {"d": [1.0]}), new, new))
    assert "2 entries of type 'new thing' are not known here: left out" in said


def test_no_text_of_a_prompt_or_an_answer_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [attempt(0, ["a harmful answer"], {"d": [None]}), attempt(1, ["a harmful answer"], {}, status=1)]
    path = save(tmp_path / "r.jsonl", *entries, end=False)
    path.write_text(path.read_text() + '{"entry_type": "attempt", "prompt": "a secret')
    with pytest.raises(SystemExit) as left:
        main(["ingest", str(path), "-o", str(tmp_path / "v.csv")])
    assert left.value.code == 0
    printed = "".join(capsys.readouterr())
    assert "secret" not in printed
    assert "harmful" not in printed
    assert f"{path}: report of garak 0.13.3\n" in printed


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=6), st.floats(0.05, 0.95))
def test_the_share_of_hits_is_garaks_own(tmp_path_factory: pytest.TempPathFactory, scores: Any, bar: float) -> None:
    folder = tmp_path_factory.mktemp("g")
    entries = [attempt(i, ["a"] * len(own), {"d": own}) for i, own in enumerate(scores)]
    setup: Row = {"run.eval_threshold": bar}
    log = garak_reports.open_log(save(folder / "r.jsonl", *entries, **setup))
    values = [score.value for answer in log.answers for score in answer.scores or ()]
    assert values == [float(score >= bar) for own in scores for score in own]
