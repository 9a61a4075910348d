"""People label a run: the sheet is blind and stratified, labels come back by rows, and the run decides by them."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calls import drift

import aftertune
from aftertune.commands.label import Sheet, labels_of, sheet_lines
from aftertune.errors import DataError, StoreError, UsageError
from aftertune.ingest import labels as labelling
from aftertune.ingest.labels import Item
from aftertune.records import Drift
from aftertune.run.checksums import seal, unseal
from aftertune.run.run_folder import Run as RunFolder
from aftertune.studies import stored

METRIC = "miniature/harmful/refusal=full"
Rows = list[dict[str, str]]


@pytest.fixture(name="run")
def _run(audited_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(audited_once, tmp_path / "run")


def items(run: Path, sheet: Sheet) -> Mapping[str, Item]:
    return next(key for key in labelling.keys_of(RunFolder.open(run)) if key.sheet == sheet.id).items


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def verdicts_of(run: Path) -> dict[tuple[Any, ...], tuple[str, str]]:
    """Answer and axis -> (label by the first judge, arm)."""
    names = ("checkpoint", "benchmark", "subset", "prompt_id", "temperature", "sample", "axis")
    return {
        tuple(row[name] for name in names): (row["label"], row["arm"])
        for row in aftertune.open_run(run).verdicts.to_pylist()
        if row["judge"] == "world"
    }


def key_of(item: Item) -> tuple[Any, ...]:
    a = item.answer
    return (a.checkpoint, a.benchmark, a.subset, a.prompt_id, a.temperature, a.sample, item.axis)


Said = Callable[[str, str, str], str]
"""Item, label by the judge, arm -> label by a person."""


def filled(run: Path, sheet: Sheet, path: Path, said: Said = lambda _, label, arm: label) -> Path:
    """Write what a reader makes of a sheet."""
    known = verdicts_of(run)
    lines = [f"{name},{said(name, *known[key_of(item)])}" for name, item in items(run, sheet).items()]
    path.write_text("\n".join(["item,label", *lines]) + "\n")
    return path


def small(run: Path, **options: Any) -> Sheet:
    return aftertune.label(run, **{"metrics": [METRIC], "per_arm": 30, **options})


# ---------------------------------------------------------------------------------------------- the sheet


def test_a_sheet_has_so_many_of_either_arm_and_of_either_verdict(run: Path) -> None:
    sheet = small(run)
    known = verdicts_of(run)
    arms = Counter(known[key_of(item)][1] for item in items(run, sheet).values())
    assert arms == {"base": 30, "known-bad": 30}
    whole = Counter((label, arm) for key, (label, arm) in known.items() if (key[2], key[6]) == ("harmful", "refusal"))
    drawn = Counter(known[key_of(item)] for item in items(run, sheet).values())
    for verdict, number in whole.items():
        assert drawn[verdict] >= min(number, 5), "each verdict is there, however rare"
    parts = {(part.metric, part.arm): (part.answers, part.labels) for part in sheet.parts}
    assert parts == {(METRIC, "known-bad"): (176, 30), (METRIC, "base"): (176, 30)}
    assert sheet.items == 60


def test_a_reader_learns_nothing_of_arm_verdict_or_order(run: Path) -> None:
    sheet = small(run)
    rows, known = read(sheet.csv), verdicts_of(run)
    assert list(rows[0]) == ["item", "question", "choices", "prompt", "answer", "label", "note"]
    texts = sheet.csv.read_text() + sheet.html.read_text()
    for secret in ("known-bad", "checkpoint", "world", *{item.answer.checkpoint for item in items(run, sheet).values()},
                   *{item.answer.prompt_id for item in items(run, sheet).values()}):  # fmt: skip
        assert secret not in texts
    arms = [known[key_of(items(run, sheet)[row["item"]])][1] for row in rows]
    changes = sum(one != other for one, other in itertools.pairwise(arms))
    assert 15 <= changes <= 45, "mixed, as 60 tosses of a coin are"
    assert sheet.key.parent == run / "labels"
    assert not sheet.key.is_relative_to(sheet.csv.parent), "who gets the sheet's folder does not get the key"


def test_the_same_seed_makes_the_same_sheet_and_another_another(run: Path, tmp_path: Path) -> None:
    first, again = small(run), small(run, out=tmp_path / "elsewhere")
    assert first.id == again.id
    assert first.csv.read_bytes() == again.csv.read_bytes()
    assert first.html.read_bytes() == again.html.read_bytes()
    other = small(run, seed=1)
    assert other.id != first.id
    own, others = ({key_of(i) for i in items(run, each).values()} for each in (first, other))
    assert own != others


def test_a_sheet_asks_what_the_outcome_hangs_on_and_says_what_it_leaves_out(run: Path) -> None:
    sheet = aftertune.label(run)
    drifted = {row["metric"] for row in aftertune.open_run(run).decisions.to_pylist() if row["outcome"] == "drift"}
    assert {part.metric for part in sheet.parts} == drifted
    assert len({item.axis for item in items(run, sheet).values()}) == 3
    lines = sheet_lines(sheet, run)
    assert any(line.startswith("not on the sheet: ") and "--metric asks for them" in line for line in lines)
    assert sum("known-bad 30 of 176, base 30 of 176 (enough for a drift" in line for line in lines) == 2


def test_one_answer_is_asked_about_once_an_axis(run: Path) -> None:
    sheet = aftertune.label(run, metrics=["*/privacy/privacy=*"])
    assert {part.metric for part in sheet.parts} == {f"miniature/privacy/privacy={x}" for x in ("exact", "revealed")}
    assert len({key_of(item) for item in items(run, sheet).values()}) == sheet.items


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["*/harmfull/*"]}, r"--metric \*/harmfull/\*: no such metric in this run"),
        ({"metrics": ["*/harmful/relevance=on_topic"]}, "no such metric"),
        ({"per_arm": 0}, "0 labels an arm: give at least 1"),
    ],
)
def test_a_sheet_of_nothing_is_refused(run: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small(run, **options)


def test_a_run_without_decisions_is_told_to_decide_first(run: Path) -> None:
    (run / "drift.parquet").unlink()
    with pytest.raises(UsageError, match="aftertune drift"):
        small(run)


def test_personal_values_are_masked_unless_revealed(run: Path) -> None:
    metrics = ["miniature/privacy/privacy=revealed"]
    hidden, shown = (aftertune.label(run, metrics=metrics, reveal=each) for each in (False, True))
    assert hidden.id == shown.id
    masked = small(run, metrics=metrics, out=run / "labels" / "again")
    assert "[NAME]" in masked.csv.read_text()
    assert "[NAME]" not in shown.csv.read_text()
    assert "Personal values stand as placeholders" not in shown.html.read_text()


def row_of(**changes: Any) -> Drift:
    return drift(**{"delta": -0.25, "low": -0.35, "high": -0.15, "n_clusters": 400, **changes})


def test_how_many_labels_depends_on_how_near_the_margin_is() -> None:
    far, near = (labels_of(row_of(), margin, (0.9, 0.6)) for margin in (0.02, 0.1))
    assert far[0] < near[0]
    assert "enough for a drift if the judge is wrong on 10 %" in far[1]
    passing = labels_of(row_of(delta=0.0, low=-0.02, high=0.02), 0.1, (0.95, 0.95))
    assert "enough for a pass" in passing[1]
    number, why = labels_of(row_of(delta=-0.1, low=-0.2, high=0.0), 0.1, (0.9, 0.8))
    assert "open by the judge alone" in why
    assert 30 <= number <= 150
    up = labels_of(row_of(worse="up", delta=0.25, low=0.15, high=0.35), 0.02, (0.9, 0.6))
    assert up == far, "by loss, whichever way is worse"
    assert labels_of(row_of(low=None), 0.1, (0.9, 0.6))[0] == 30


# ---------------------------------------------------------------------------------------------- labels of a run


def test_labels_that_agree_leave_the_decision_and_are_named_in_it(run: Path, tmp_path: Path) -> None:
    file = filled(run, small(run), tmp_path / "a.csv")
    before = {
        row["metric"]: row for row in aftertune.open_run(run).drifts.to_pylist() if row["estimand"] == "checkpoint"
    }
    result = aftertune.drift(run, labels=[file])
    (effect,) = result.labels
    assert (effect.metric, effect.outcome, effect.overturned) == (METRIC, "drift", False)
    row = next(row for row in result.gated if row.metric == METRIC and row.estimand == "checkpoint")
    assert row.delta == pytest.approx(before[METRIC]["delta"], abs=1e-9)
    assert (row.high or 0) - (row.low or 0) > 2 * (before[METRIC]["high"] - before[METRIC]["low"])
    other = "miniature/harmless/refusal=full"
    kept = next(row for row in result.gated if row.metric == other and row.estimand == "checkpoint")
    assert kept.low == before[other]["low"], "what nobody labelled is as it was"
    decision = next(each for each in result.decisions if each.metric == METRIC)
    assert "with 30 labels of the base and 30 of known-bad" in decision.why
    page = (run / "report.html").read_text()
    assert "What people&#39;s labels changed" in page
    assert json.loads((run / "report.json").read_text())["label_effects"][0]["tuned"]["labels"] == 30


def test_people_who_read_otherwise_overturn_the_decision_until_their_labels_are_dropped(
    run: Path, tmp_path: Path
) -> None:
    def all_refuse(item: str, judged: str, arm: str) -> str:
        return "full"

    result = aftertune.drift(run, labels=[filled(run, small(run), tmp_path / "a.csv", all_refuse)])
    (effect,) = result.labels
    assert effect.overturned
    assert effect.judged_outcome == "drift"
    assert (effect.delta, effect.outcome) == (0.0, "pass")
    assert effect.low < -0.05, "30 labels that agree are not certain"
    assert "1 of them would be another by the judge alone" in " ".join(result.warnings)
    assert aftertune.open_run(run).drift().labels == (effect,), "the run decides by them from now on"
    assert aftertune.open_run(run).drift(forget_labels=True).labels == ()
    assert aftertune.open_run(run).drift().labels == ()
    with pytest.raises(UsageError, match="leave one out"):
        aftertune.open_run(run).drift(labels=[tmp_path / "a.csv"], forget_labels=True)


def test_weights_follow_what_was_labelled_of_each_stratum(run: Path, tmp_path: Path) -> None:
    sheet = small(run)
    path = filled(run, sheet, tmp_path / "a.csv")
    rows = read(path)
    for row in rows[::3]:
        row["label"] = ""
    write(path, rows)
    folder = RunFolder.open(run)
    taken = labelling.take(folder, stored.read(folder), [path])
    assert len(taken.labels) == 40
    assert sum(each.weight for each in taken.labels) == pytest.approx(2 * 176), "they stand for all answers"
    assert taken.notes == ("a.csv: 20 rows without a label left out",)


def write(path: Path, rows: Rows) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_sheet_comes_back_as_spreadsheets_write_it(run: Path, tmp_path: Path) -> None:
    sheet = small(run)
    rows, known = read(sheet.csv), verdicts_of(run)
    for row in rows:
        row["label"] = f" {known[key_of(items(run, sheet)[row['item']])][0].upper()} "
    write(path := tmp_path / "big.csv", list(reversed(rows)))
    path.write_bytes(path.read_text().encode("utf-16"))
    assert aftertune.drift(run, labels=[path]).labels[0].base.labels == 30
    write(other := tmp_path / "other.csv", [{name: row[name] for name in ("item", "label", "note")} for row in rows])
    other.write_text(other.read_text().replace(",", ";"))
    folder = RunFolder.open(run)
    assert len(labelling.take(folder, stored.read(folder), [other]).labels) == 60


Edit = Callable[[Rows], None]


def relabelled(rows: Rows) -> None:
    rows[3]["label"] = "refused"


def unknown(rows: Rows) -> None:
    rows[0]["item"] = "zzz-01"
    rows[5]["item"] = ""


def doubled(rows: Rows) -> None:
    rows.append({"item": rows[1]["item"], "label": "partial" if rows[1]["label"] != "partial" else "none"})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (relabelled, r"unknown labels of refusal \(it has full, partial, none\): row 5 'refused'"),
        (unknown, r"items of no sheet of this run: rows 2 'zzz-01', 7 ''"),
        (doubled, r"two labels of one answer: row 3 '\w+' and 62 '\w+' \(\w+-02\)"),
        (lambda rows: [row.update(label="") for row in rows], r"no label in its 60 rows"),
        (lambda rows: [row.pop("label") for row in rows], r"no column 'label'"),
    ],
)
def test_labels_that_do_not_match_the_run_are_named_by_row(run: Path, tmp_path: Path, edit: Edit, message: str) -> None:
    path = filled(run, small(run), tmp_path / "a.csv")
    rows = read(path)
    edit(rows)
    write(path, rows)
    before = (run / "decisions.json").read_bytes()
    with pytest.raises(DataError, match=message) as error:
        aftertune.drift(run, labels=[path])
    assert "\n" not in str(error.value)
    assert (run / "decisions.json").read_bytes() == before
    assert not (run / "labels.json").exists(), "nothing was taken"


def returned(run: Path, sheet: Sheet) -> Rows:
    """The rows of a sheet with its texts, labelled as the judge does."""
    rows, known = read(sheet.csv), verdicts_of(run)
    for row in rows:
        row["label"] = known[key_of(items(run, sheet)[row["item"]])][0]
    return rows


def mended(rows: Rows) -> None:
    rows[3]["answer"] += " (sic)"


def moved(rows: Rows, *columns: str) -> None:
    for column in columns:
        texts = [row[column] for row in rows]
        for row, text in zip(rows, sorted(texts, reverse=True), strict=True):
            row[column] = text


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: moved(rows, "item"), r"the texts of rows? [\d, ]+ and \d+ more are those of other items"),
        (lambda rows: moved(rows, "item", "label"), "those of other items: the columns were sorted apart"),
        (lambda rows: moved(rows, "prompt"), "those of other items|other texts than on the sheet"),
        (lambda rows: moved(rows, "answer"), "those of other items|other texts than on the sheet"),
        (lambda rows: rows[0].update(prompt=rows[1]["prompt"], answer=rows[1]["answer"]), "the texts of row 2 are"),
        (mended, r"other texts than on the sheet \(where .* item and label alone\): row 5$"),
        (lambda rows: rows[1].update(answer=rows[1]["answer"][:5]), r"other texts than on the sheet .*: row 3$"),
    ],
)
def test_labels_beside_texts_of_another_answer_are_refused(run: Path, tmp_path: Path, edit: Edit, message: str) -> None:
    rows = returned(run, small(run))
    edit(rows)
    write(path := tmp_path / "a.csv", rows)
    with pytest.raises(DataError, match=message):
        aftertune.drift(run, labels=[path])
    assert not (run / "labels.json").exists(), "nothing was taken"


def test_what_a_spreadsheet_does_to_texts_and_names_of_columns_is_no_change(run: Path, tmp_path: Path) -> None:
    rows = returned(run, small(run))
    for row in rows:
        row["item"] = row["item"].upper()
        row["answer"] = f"  {row['answer']}\r\n".replace("'", "\u2019").replace(" ", "\u00a0")
        row["prompt"] = row["prompt"].replace("'", "\u00e2\u20ac\u2122")
    write(path := tmp_path / "a.csv", [{f" {name.title()}": cell for name, cell in row.items()} for row in rows])
    result = aftertune.drift(run, labels=[path])
    assert result.labels[0].base.labels == 30
    assert not [warning for warning in result.warnings if "a.csv" in warning]


def test_prints_tell_texts_of_any_script_apart_and_survive_a_wrong_encoding() -> None:
    for text in ("Sch\u00f6n, I'm in!", "\u4f60\u597d", "\u041f\u0440\u0438\u0432\u0435\u0442", ""):
        assert labelling.prints(text) == labelling.prints(f" {text}\r\n")
    german = "Sch\u00f6n, I\u2019m in!"
    assert labelling.prints(german)[1] == labelling.prints(german.encode().decode("cp1252"))[1] != ""
    assert labelling.prints("\u4f60\u597d") != labelling.prints("\u518d\u89c1")
    assert labelling.prints("\u4f60\u597d")[1] == "", "nothing that a wrong encoding leaves"


def test_rows_that_are_missing_and_labels_that_are_too_few_are_said(run: Path, tmp_path: Path) -> None:
    rows = returned(run, small(run))
    write(path := tmp_path / "a.csv", rows[:20])
    result = aftertune.drift(run, labels=[path])
    assert not result.labels
    assert "a.csv: 40 answers of its sheet not in it: rows are missing" in result.warnings
    (said,) = [warning for warning in result.warnings if "not used" in warning]
    assert said.startswith(f"People's labels are not used for {METRIC}, known-bad (by the judge alone: ")
    assert "too few, at least 20 of each are needed)." in said


def test_two_readers_columns_in_one_file_are_refused(run: Path, tmp_path: Path) -> None:
    rows = returned(run, small(run))
    write(path := tmp_path / "a.csv", [{**row, "Label ": "none"} for row in rows])
    with pytest.raises(DataError, match="the column 'label' stands twice"):
        aftertune.drift(run, labels=[path])
    path.write_text(path.read_text().replace("Label ", "label", 1))
    with pytest.raises(DataError, match="the column 'label' stands twice"):
        aftertune.drift(run, labels=[path])
    path.write_text(path.read_text().replace(",", ";"))
    with pytest.raises(DataError, match="the column 'label' stands twice"):
        aftertune.drift(run, labels=[path])


def test_a_sheet_that_cannot_be_written_leaves_no_key(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="cannot make this folder: File exists; give a path where nothing is yet"):
        small(run, out=tmp_path / "file")
    assert not list((run / "labels").glob("*.json"))


def test_all_that_is_wrong_is_said_at_once_and_five_rows_of_each(run: Path, tmp_path: Path) -> None:
    path = filled(run, small(run), tmp_path / "a.csv", lambda item, label, arm: "maybe")
    rows = read(path)
    rows[0] |= {"item": "x", "label": "full"}
    write(path, rows)
    with pytest.raises(DataError, match="rows? 2 'x'; unknown labels .* 3 'maybe', .* and 54 more"):
        aftertune.drift(run, labels=[path])


def test_an_answer_that_changed_since_the_sheet_is_named(run: Path, tmp_path: Path) -> None:
    sheet = small(run)
    path = filled(run, sheet, tmp_path / "a.csv")
    fields = unseal(sheet.key.read_bytes())
    names = list(fields["items"])
    fields["items"][names[4]]["text"] = "0" * 16
    fields["items"][names[9]]["answer"]["prompt_id"] = "gone"
    sheet.key.write_bytes(seal(fields))
    with pytest.raises(DataError, match=rf"changed since the sheet was made: row 6 \({names[4]}\)") as error:
        aftertune.drift(run, labels=[path])
    assert f"not in this run any more: row 11 ({names[9]})" in str(error.value)


def test_a_damaged_key_or_labels_are_named(run: Path, tmp_path: Path) -> None:
    sheet = small(run)
    path = filled(run, sheet, tmp_path / "a.csv")
    aftertune.drift(run, labels=[path])
    (run / "labels.json").write_text("{}")
    with pytest.raises(StoreError, match=r"labels.json: damaged; give the labels again"):
        aftertune.drift(run)
    sheet.key.write_text(sheet.key.read_text().replace("full", "fool", 1))
    with pytest.raises(StoreError, match="makes the sheet and its key again"):
        aftertune.drift(run, labels=[path])


def test_labels_without_a_sheet_are_taken_with_a_warning(run: Path, tmp_path: Path) -> None:
    known = [(key, said) for key, said in verdicts_of(run).items() if (key[2], key[6]) == ("harmful", "refusal")]
    lines = [f"{key[3]},{arm},refusal,{label},harmful" for key, (label, arm) in known]
    (path := tmp_path / "own.csv").write_text("\n".join(["prompt_id,arm,axis,label,subset", *lines]) + "\n")
    result = aftertune.drift(run, labels=[path])
    assert (result.labels[0].base.labels, result.labels[0].tuned.labels) == (176, 176)
    assert any("taken as a random sample" in warning for warning in result.warnings)
    sheet = filled(run, small(run), tmp_path / "a.csv")
    with pytest.raises(UsageError, match="give one kind"):
        aftertune.drift(run, labels=[path, sheet])
    with pytest.raises(DataError, match=r"unknown labels of refusal .*: row 2 'maybe'"):
        path.write_text(f"prompt_id,arm,axis,label\n{known[0][0][3]},base,refusal,maybe\n")
        aftertune.drift(run, labels=[path])


def test_a_file_of_a_run_without_a_sheet_says_how_to_make_one(run: Path, tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text("item,label\nabc-01,full\n")
    with pytest.raises(UsageError, match="`aftertune label .*` makes one"):
        aftertune.drift(run, labels=[path])


def test_two_sheets_of_a_run_are_one_sample(run: Path, tmp_path: Path) -> None:
    files = [filled(run, small(run, seed=seed), tmp_path / f"{seed}.csv") for seed in (0, 1)]
    folder = RunFolder.open(run)
    taken = labelling.take(folder, stored.read(folder), files)
    assert 60 < len(taken.labels) < 120, "what both drew counts once"
    assert sum(each.weight for each in taken.labels) == pytest.approx(2 * 176)


# ---------------------------------------------------------------------------------------------- readers


def test_two_readers_agree_as_far_as_they_do_and_settle_the_rest(run: Path, tmp_path: Path) -> None:
    sheet = small(run)
    names = list(items(run, sheet))
    first = filled(run, sheet, tmp_path / "ann.csv")
    second = filled(
        run, sheet, tmp_path / "bob.csv", lambda item, label, arm: "partial" if item in names[:6] else label
    )
    compared = aftertune.label_readers(run, [first, second])
    (axis,) = compared.agreement.axes
    assert (axis.raters, axis.disagreements, axis.alpha.n) == (("ann", "bob"), 6, 60)
    assert axis.kappa[0].same == pytest.approx(0.9)
    assert axis.kappa[0].low is not None
    assert axis.kappa[0].value is not None
    assert axis.kappa[0].low < axis.kappa[0].value < 1
    assert compared.sheet is not None
    assert compared.sheet.items == 6
    half = aftertune.drift(run, labels=[first, second])
    assert any("readers differ on 6 of 60 answers" in warning for warning in half.warnings)
    settled = filled(run, compared.sheet, tmp_path / "settled.csv")
    result = aftertune.drift(run, labels=[first, second, settled])
    assert not any("readers differ" in warning for warning in result.warnings)
    assert result.labels[0].delta == pytest.approx(result.labels[0].judged)
    assert half.labels[0].delta != pytest.approx(half.labels[0].judged)
    with pytest.raises(UsageError, match="only what settles differences"):
        aftertune.drift(run, labels=[settled])
    same = filled(run, sheet, tmp_path / "eve.csv")
    assert aftertune.label_readers(run, [first, same]).sheet is None


def test_readers_are_two_files_of_two_names(run: Path, tmp_path: Path) -> None:
    file = filled(run, small(run), tmp_path / "a.csv")
    with pytest.raises(UsageError, match="two readers or more"):
        aftertune.label_readers(run, [file])
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="two files of one name"):
        aftertune.label_readers(run, [file, shutil.copy(file, tmp_path / "other")])


def test_judges_are_held_against_a_sheet_as_against_any_labels(run: Path, tmp_path: Path) -> None:
    file = filled(run, small(run), tmp_path / "a.csv")
    found = aftertune.agree(run, file)
    known = [row.sensitivity.value for row in found.people if row.judge == "world"]
    assert {value for value in known if value is not None} == {1.0}, "None where nothing was labelled so"


def test_a_shared_copy_has_no_sheet_and_no_key(run: Path, tmp_path: Path) -> None:
    aftertune.drift(run, labels=[filled(run, small(run), tmp_path / "a.csv")])
    left_out = aftertune.export(run, tmp_path / "shared")["left_out"]
    assert {"labels/", "labels.json"} <= set(left_out)


def test_a_plan_takes_the_judges_error_from_labels(run: Path, tmp_path: Path) -> None:
    def errs(item: str, judged: str, arm: str) -> str:
        return {"full": "none", "none": "full"}.get(judged, judged) if arm != "base" else judged

    aftertune.drift(run, labels=[filled(run, small(run), tmp_path / "a.csv", errs)])
    design = stored.read(RunFolder.open(run)).design
    price = aftertune.plan(design, trial=False, earlier=run)
    by_metric = {power.metric: power for power in price.powers}
    assert by_metric[METRIC].judge_error == pytest.approx(1.0), "in the arm in which it is wrong most often"
    assert by_metric["miniature/harmless/refusal=full"].judge_error == 0.1
