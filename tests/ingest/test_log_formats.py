"""Which tool wrote a file: by its content, whatever its name; files of two tools, of none, and of any damage."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.converted_logs import converted

from aftertune.cli import main
from aftertune.errors import AftertuneError, DataError
from aftertune.ingest import log_formats, logs
from aftertune.ingest.log_formats import LogFormat

TURN = {"role": "user", "content": {"text": "secret prompt"}}
ATTEMPT = {
    **{"entry_type": "attempt", "uuid": "u", "seq": 0, "status": 2, "probe_classname": "p", "intent": None},
    **{"prompt": {"turns": [TURN]}, "outputs": [{"text": "harmful"}], "detector_results": {"d": [1.0]}},
}
SETUP = {"entry_type": "start_run setup", "plugins.target_type": "m", "run.eval_threshold": 0.5}
OWN = {"entry_type": "eval", "probe": "p", "detector": "d", "passed": 0, "total_evaluated": 1}
RESULT = {
    **{"provider": {"id": "m"}, "prompt": {"raw": "secret prompt", "label": "l"}, "success": True, "score": 1},
    **{"response": {"output": "harmful"}, "namedScores": {"n": 1}, "testCase": {"assert": [{"metric": "n"}]}},
    **{"testIdx": 0, "promptIdx": 0, "failureReason": 0, "gradingResult": {"componentResults": []}},
}
NAMED = {"name": {"name": "exact_match", "split": "test", "perturbation": {"name": "typos"}}, "count": 1, "mean": 1.0}
ITEM = {"instance_id": "i", "train_trial_index": 0, "perturbation": {"name": "typos"}, "stats": [NAMED]}
STATE = {
    **{"instance": {"id": "i", "sub_split": "s", "perturbation": {"name": "typos"}}, "train_trial_index": 0},
    **{"request": {"prompt": "q", "messages": [{"role": "user", "content": "q"}]}, "reference_index": None},
    **{"result": {"success": True, "completions": [{"text": "a", "thinking": {"text": "t"}, "finish_reason": {}}]}},
}
PREDICTION = {"origin_prompt": [{"role": "HUMAN", "prompt": "q"}], "prediction": "harmful", "gold": "1"}
DETAIL = {"example_abbr": "x_0", "pred": ["1"], "correct": [True], "G-Pass@1_0.0": 1.0}
DOCUMENTS: dict[str, tuple[LogFormat, Any]] = {
    "garak": (log_formats.GARAK, [SETUP, ATTEMPT, OWN]),
    "promptfoo JSONL": (log_formats.PROMPTFOO, [RESULT]),
    "promptfoo": (log_formats.PROMPTFOO, {"evalId": "e", "results": {"version": 3, "results": [RESULT]}}),
    "promptfoo summary": (log_formats.PROMPTFOO, {"version": 3, "timestamp": "t", "results": [RESULT]}),
    "HELM stats": (log_formats.HELM, [ITEM]),
    "HELM state": (log_formats.HELM, {"adapter_spec": {"method": "m", "model": "m"}, "request_states": [STATE]}),
    "OpenCompass": (log_formats.OPENCOMPASS, {"accuracy": 1.0, "details": [DETAIL]}),
    "OpenCompass, older": (
        log_formats.OPENCOMPASS,
        {"details": {"type": "GEN", "0": {"prompt": "q", "correct": True}}},
    ),
    "OpenCompass predictions": (log_formats.OPENCOMPASS, {"0": PREDICTION}),
}
IN_LINES = ("garak", "promptfoo JSONL")


def write(path: Path, name: str, document: Any, indent: int | None = None) -> Path:
    if name in IN_LINES and isinstance(document, list):
        path.write_text("".join(json.dumps(row) + "\n" for row in document))
    else:
        path.write_text(json.dumps(document, indent=indent))
    return path


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("file", ["a.json", "a.jsonl", "a.txt", "results_x", "samples_x.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_is_recognised_by_its_content(tmp_path: Path, name: str, file: str, indent: int | None) -> None:
    form, document = DOCUMENTS[name]
    path = write(tmp_path / file, name, document, indent)
    assert log_formats.format_of(path) == form
    opened = logs.open_log(path)
    assert opened is not None
    assert form.tool in opened.form
    assert sum(1 for _ in opened.answers) == 1


def test_the_keys_of_a_text_are_no_keys(tmp_path: Path) -> None:
    quoted = json.dumps(json.dumps({"evalId": 1, "results": 2, "adapter_spec": 3}))
    path = tmp_path / "a.json"
    path.write_text('{"checkpoint": ' + quoted + ', "more": {"evalId": 1, "results": {"adapter_spec": {}}}}')
    assert log_formats.format_of(path) is None


def test_a_table_stays_a_table(tmp_path: Path) -> None:
    rows = [{"checkpoint": c, "prompt": str(i), "metric": "acc", "value": 1, "entry_type": "attempt"} for c in "bt"
            for i in range(40)]  # fmt: skip
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert log_formats.format_of(path) is None


@pytest.mark.parametrize(
    ("document", "tools"),
    [
        (ATTEMPT | RESULT | {"entry_type": "attempt"}, "garak and promptfoo"),
        (ATTEMPT | {"doc_id": 1, "resps": [], "arguments": []}, "lm-evaluation-harness and garak"),
        ({"evalId": 1, "results": {}, "adapter_spec": {}}, "promptfoo and HELM"),
        ({"eval": {}, "status": "success", "evalId": 1, "results": {}}, "Inspect AI and promptfoo"),
    ],
)
def test_a_file_of_two_forms_is_refused(tmp_path: Path, document: Any, tools: str) -> None:
    path = write(tmp_path / "a.json", "", document)
    with pytest.raises(DataError, match=f"has what logs of {tools} have, so nobody knows which it is"):
        logs.open_log(path)


def test_logs_of_two_tools_stand_in_one_table(tmp_path: Path) -> None:
    one = write(tmp_path / "a", "garak", [SETUP, ATTEMPT])
    other = write(tmp_path / "b", "promptfoo JSONL", [RESULT])
    made, _ = converted(tmp_path, f"m={one}", f"m={other}")
    assert sorted((row["checkpoint"], row["metric"], row["value"]) for row in made) == [
        ("m", "p/d=hit", 1.0), ("m", "promptfoo/n", 1.0), ("m", "promptfoo/pass", 1.0), ("m", "promptfoo/score", 1.0),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------- unknown files

UNKNOWN = {
    "a.jsonl": (
        '{"model_name": "m", "question": "q", "score": 1}\n',
        ["'model_name' for checkpoint", "'score' for value"],
    ),
    "b.csv": ("Model,Input,Task,Correct,Output\nm,q,t,1,o\n", ["'Input' for prompt", "'Task' for metric"]),
    "c.json": ('{"run": 1, "rows": [{"adapter": "m", "prompt": "q", "accuracy": 1}]}', ["'adapter' for checkpoint"]),
    "d.json": ('{"tool": "new"}', ["it has tool"]),
    "e.txt": ("any text", ["no log of a known tool"]),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_file_gets_the_columns_that_would_do(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, parts = UNKNOWN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as left:
        main(["ingest", str(tmp_path / name), "-o", str(tmp_path / "v.csv")])
    said = capsys.readouterr().err
    assert (left.value.code, said.count("\n")) == (2, 1)
    for part in [*parts, "checkpoint, prompt, metric, value", "garak", "promptfoo", "HELM", "lighteval", "OpenCompass"]:
        assert part in said


@pytest.mark.parametrize("command", ["drift", "judge"])
@pytest.mark.parametrize("name", ["a.jsonl", "b.csv", "c.json"])
def test_other_commands_say_the_nearest_columns_too(
    tmp_path: Path, name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(UNKNOWN[name][0])
    calls = {
        "drift": ["drift", "--verdicts", str(path), "--base", "b", "--tuned", "t"],
        "judge": ["judge", str(path), "--judge", "refusal", "-o", str(tmp_path / "o.csv")],
    }
    with pytest.raises(SystemExit) as left:
        main(calls[command])
    assert left.value.code == 2
    nearest = {"drift": "for checkpoint", "judge": "for prompt" if name != "c.json" else "for checkpoint"}[command]
    assert nearest in capsys.readouterr().err


def test_names_that_may_be_values_are_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a secret prompt,score\nx,1\n")
    with pytest.raises(DataError) as error:
        converted(tmp_path, path)
    assert "secret" not in str(error.value)
    assert "'score' for value" in str(error.value)


# ---------------------------------------------------------------------------------------------- damage

VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
)
VALUES |= st.just([1]) | st.just([[]]) | st.just([{}]) | st.just({"a": {}}) | st.just("[{}]") | st.just(10**400)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*at, key))


def replaced(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    made = copy.deepcopy(document)
    holder = made
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value
    return made


@pytest.mark.parametrize("name", DOCUMENTS)
@settings(max_examples=50)
@given(data=st.data())
def test_damage_anywhere_is_a_line_or_a_missing_value(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    form, document = DOCUMENTS[name]
    at = data.draw(st.sampled_from([*places(document)]))
    broken = replaced(document, at, data.draw(VALUES))
    path = write(tmp_path_factory.getbasetemp() / "damaged", name, broken)
    try:
        log = form.open(path)
        columns = logs.verdict_columns(log)
    except AftertuneError as error:
        assert "\n" not in str(error)
        assert "harmful" not in str(error)
        return
    assert all(value is None or isinstance(value, float) for value in columns["value"])


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=5), st.recursive(st.text() | st.integers(), st.lists)), st.integers(0, 200))
def test_the_keys_of_a_beginning_are_keys_of_the_whole(document: dict[str, Any], cut: int) -> None:
    text = json.dumps(document, ensure_ascii=False)
    names = {json.dumps(key, ensure_ascii=False)[1:-1] for key in document}
    assert log_formats._keys(text)[0] == names
    assert log_formats._keys(text[:cut])[0] <= names
