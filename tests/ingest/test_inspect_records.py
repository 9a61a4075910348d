"""Logs of Inspect AI made by hand: scores, directions, broken samples, damaged files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calls import Terminal

from aftertune.errors import DataError
from aftertune.ingest.log_records import Log, LoggedAnswer, LoggedScore
from aftertune.models.chat import message_hash
from aftertune.records import Message

pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")

from aftertune.ingest import inspect_logs, logs


def sample(number: int = 1, text: str = "4", stop: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "stop_reason": stop}
    fields = {"id": number, "epoch": 1, "input": "2+2=", "target": "4", "output": {"model": "m", "choices": [choice]}}
    return {**fields, **more}


def head(status: str = "success", sample_ids: list[int] | None = None, epochs: int = 1, **more: Any) -> dict[str, Any]:
    spec = {
        "created": "2026-01-01T00:00:00+00:00", "task": "sums", "model": "mock/m", "config": {"epochs": epochs},
        "dataset": {"sample_ids": sample_ids},
    }  # fmt: skip
    return {"version": 2, "status": status, "eval": {**spec, **more}}


def opened(folder: Path, *samples: Any, **fields: Any) -> Log:
    path = folder / "l.json"
    path.write_text(json.dumps({**head(**fields), "samples": list(samples)}))
    return inspect_logs.open_log(path)


def one(folder: Path, **more: Any) -> LoggedAnswer:
    (answer,) = opened(folder, sample(**more)).answers
    return answer


def zipped(folder: Path, **members: str) -> Path:
    path = folder / "l.eval"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name.replace("__", "/") + ".json", text)
    return path


def scores(value: Any, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"judge": {"value": value, "metadata": metadata}}


OURS = {"refusal": {"judge_version": "1"}}


# ---------------------------------------------------------------------------------------------- damaged files


DEEP = '{"a":' * 50_000


def test_a_header_or_sample_nested_beyond_reason_is_a_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"l\.eval: not a log of Inspect AI, or cut off: "):
        inspect_logs.open_log(zipped(tmp_path, header=DEEP))
    log = inspect_logs.open_log(zipped(tmp_path, header=json.dumps(head()), samples__1=DEEP))
    with pytest.raises(DataError, match=r"l\.eval: samples/1\.json: cannot be read: "):
        list(log.answers)


def test_an_encrypted_member_is_a_damaged_file(tmp_path: Path) -> None:
    path = zipped(tmp_path, header=json.dumps(head()))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"l\.eval: not a log of Inspect AI, or cut off: .*encrypted"):
        inspect_logs.open_log(path)


@pytest.mark.parametrize(("text", "said"), [("{", "header: not valid JSON"), ("[1]", "no object with samples")])
def test_a_header_of_another_kind_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        inspect_logs.open_log(zipped(tmp_path, header=text, samples__1="{}"))
    assert "\n" not in str(caught.value)


def test_a_log_without_its_last_header_was_killed_and_its_samples_are_read_in_order(tmp_path: Path) -> None:
    members = {f"samples__{n}": json.dumps(sample(n)) for n in (2, 1)}
    path = zipped(tmp_path, _journal__start=json.dumps(head(sample_ids=[1, 2, 3], epochs=2)), **members)
    log = inspect_logs.open_log(path)
    assert log.warnings == [f"{path}: status 'started': 2 of 6 samples are there"]
    assert [answer.prompt.id for answer in log.answers] == ["sums/1", "sums/2"]


@pytest.mark.parametrize("samples", [[], None, {}])
def test_a_log_without_a_sample_is_refused(tmp_path: Path, samples: Any) -> None:
    path = tmp_path / "l.json"
    path.write_text(json.dumps({**head("error"), "samples": samples}))
    with pytest.raises(DataError, match=r"l\.json: status 'error' and no sample in it; run the evaluation again$"):
        inspect_logs.open_log(path)


def test_samples_that_cannot_be_samples_are_refused_when_reached(tmp_path: Path) -> None:
    for broken in (3, {"id": 1}):
        answers = opened(tmp_path, sample(), broken).answers
        assert next(answers).text == "4"
        with pytest.raises(DataError, match="a sample that this version cannot read") as caught:
            next(answers)
        assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- answers


def test_the_model_is_named_with_its_arguments_in_order(tmp_path: Path) -> None:
    assert opened(tmp_path, sample()).model == "mock/m"
    assert opened(tmp_path, sample(), model_args={"z": 1, "a": "x", "n": None}).model == "mock/m (a=x, z=1)"


@pytest.mark.parametrize(
    ("stop", "finish"),
    [("stop", "stop"), ("max_tokens", "length"), ("model_length", "length"), ("tool_calls", "stop")],
)
def test_only_a_cut_answer_ended_by_its_length(tmp_path: Path, stop: str, finish: str) -> None:
    assert one(tmp_path, stop=stop).finish_reason == finish


def test_the_system_prompt_counts_in_the_hash_and_epochs_are_repeats(tmp_path: Path) -> None:
    first, second = opened(tmp_path, sample(), sample(epoch=3), model_generate_config={"system_message": "Hi"}).answers
    assert (first.repeat, second.repeat) == (0, 2)
    assert first.message_hash == message_hash([Message("user", "2+2=")], "Hi") != one(tmp_path).message_hash


def test_a_chat_keeps_its_turns_of_words_only(tmp_path: Path) -> None:
    turns = [("system", "s"), ("user", "u"), ("assistant", "a"), ("tool", "t"), ("user", "v")]
    answer = one(tmp_path, input=[{"role": role, "content": content} for role, content in turns])
    assert [(turn.role, turn.content) for turn in answer.prompt.messages] == [t for t in turns if t[0] != "tool"]


def test_a_sample_that_failed_has_no_score_and_one_without_output_says_so(tmp_path: Path) -> None:
    error = {"message": "boom" * 100, "traceback": "", "traceback_ansi": ""}
    log = opened(tmp_path, sample(1, error=error, scores=scores(1)), sample(2, output={"model": "m"}, scores=scores(1)))
    failed, silent = log.answers
    assert (failed.error, failed.scores) == (("boom" * 100)[:200], ())
    assert (silent.text, silent.error, len(silent.scores or ())) == (None, "no output", 1)
    assert f"{log.path}: 1 samples ended with an error: unjudged" in log.warnings


@pytest.mark.parametrize(
    ("metadata", "identity"),
    [
        ({}, ("sums/1", "", "", "")),
        ({"prompt_id": "p", "benchmark": "xstest", "subset": "safe", "cluster": "c"}, ("xstest/p", "xstest", "safe", "xstest/c")),
        ({"benchmark": "xstest", "cluster": "c"}, ("sums/1", "", "", "sums/c")),
        ({"prompt_id": "p", "cluster": 3}, ("sums/1", "", "", "sums/3")),
    ],
)  # fmt: skip
def test_a_prompt_is_ours_with_both_id_and_benchmark(
    tmp_path: Path, metadata: dict[str, Any], identity: tuple[str, str, str, str]
) -> None:
    prompt = one(tmp_path, metadata=metadata).prompt
    assert (prompt.id, prompt.benchmark, prompt.subset, prompt.cluster) == identity
    assert one(tmp_path, metadata={**metadata, "expect": ["no mapping"]}).prompt.expect == {}


# ---------------------------------------------------------------------------------------------- scores


def test_lists_count_from_one_and_mappings_keep_their_keys(tmp_path: Path) -> None:
    found = one(tmp_path, scores={"l": {"value": ["C", "I"]}, "d": {"value": {"k": "P", "": 2}}, "s": {"value": "N"}})
    assert found.scores == tuple(
        LoggedScore(f"sums/{name}", name[0], value, None, word)
        for name, value, word in (
            ("l/1", 1.0, "C"),
            ("l/2", 0.0, "I"),
            ("d/k", 0.5, "P"),
            ("d", 2.0, ""),
            ("s", 0.0, "N"),
        )
    )


def columns(folder: Path, *values: Any) -> tuple[dict[str, list[Any]], list[str]]:
    """Return the rows of a log whose samples have these scores, and its warnings without its path."""
    log = opened(folder, *(sample(n, scores=scores(value)) for n, value in enumerate(values, 1)))
    made = logs.verdict_columns(log)
    return made, [line.removeprefix(f"{log.path}: ") for line in log.warnings]


def test_a_metric_of_words_alone_is_left_out_with_some_of_them_shown(tmp_path: Path) -> None:
    words = ["e5", "d4", "c3" * 15, "b2", "a1"]
    made, said = columns(tmp_path, *({"word": word, "number": 1} for word in words))
    assert set(made["metric"]) == {"sums/judge/number"}
    assert said == [f"sums/judge/word left out: it holds words (a1, b2, {('c3' * 15)[:20]}, d4), not numbers"]
    with pytest.raises(
        DataError, match=r"no scores in it that are numbers \(sums/judge left out: it holds words \(no\w"
    ):
        columns(tmp_path, "nope", "nope")


@pytest.mark.parametrize("word", ["unclear", "ERROR", "5/10", "85%", "n/a"])
def test_a_word_among_grades_is_unjudged_and_counted_and_no_0(tmp_path: Path, word: str) -> None:
    made, said = columns(tmp_path, "C", word, "I", "N", "P", word)
    assert made["value"] == [1.0, None, 0.0, 0.0, 0.5, None]
    assert said == [
        f"sums/judge: words in 2 answers ({word} 2) have no value: unjudged, which the gate counts as the worst"
    ]


@pytest.mark.parametrize("letters", ["ABCDE", "CF", "ICX", "cab"])
def test_letters_of_another_scale_are_no_grades(tmp_path: Path, letters: str) -> None:
    made, said = columns(tmp_path, *({"grade": letter, "number": 1} for letter in letters))
    assert set(made["metric"]) == {"sums/judge/grade", "sums/judge/number"} - {"sums/judge/grade"}
    shown = ", ".join(sorted(letters))
    assert said == [
        f"sums/judge/grade left out: its letters ({shown}) are a scale of their own, not the grades C, P, I and N"
    ]


@pytest.mark.parametrize(
    ("metadata", "key", "expected"),
    [
        ({"benchmark": "xstest", "subset": "safe"}, "refusal=full", ("xstest/safe/refusal=full", "up")),
        ({"benchmark": "xstest", "subset": "unsafe"}, "refusal=full", ("xstest/unsafe/refusal=full", "down")),
        ({"benchmark": "xstest", "subset": "safe"}, "harm=harmful", None),
        ({"benchmark": "theirs", "subset": "s"}, "harm=harmful", ("theirs/s/harm=harmful", None)),
        ({}, "coherence=coherent", ("sums/coherence=coherent", None)),
        ({}, "refusal=full", ("sums/refusal=full", None)),
        ({}, "no such axis=x", ("sums/no such axis=x", None)),
    ],
)
def test_a_score_of_ours_has_the_direction_of_its_benchmark(
    tmp_path: Path, metadata: dict[str, Any], key: str, expected: tuple[str, str | None] | None
) -> None:
    log = opened(tmp_path, sample(scores=scores({key: 1}, OURS), metadata=metadata))
    (answer,) = log.answers
    found = [(score.metric, score.worse) for score in answer.scores or ()]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("content", "stop", "ended"),
    [
        ("Yes", "stop", "stop"),
        ("Ye", "max_tokens", "length"),
        ("", "content_filter", "filter"),
        ("First,", "content_filter", "filter_cut"),
        ([{"type": "text", "text": "I will not.", "refusal": True}], "stop", "refusal"),
        ([{"type": "text", "text": "Yes"}], "stop", "stop"),
    ],
)
def test_how_an_answer_ended_is_kept(tmp_path: Path, content: Any, stop: str, ended: str) -> None:
    assert one(tmp_path, text=content, stop=stop).finish_reason == ended


def test_reasoning_that_inspect_keeps_apart_is_the_thought(tmp_path: Path) -> None:
    content = [{"type": "reasoning", "reasoning": "I'm sorry, no."}, {"type": "text", "text": "Sure."}]
    choice = {"message": {"role": "assistant", "content": content}, "stop_reason": "stop"}
    answer = one(tmp_path, output={"model": "m", "choices": [choice]})
    assert (answer.text, answer.thought) == ("Sure.", "I'm sorry, no.")
    assert one(tmp_path, text="Sure.").thought == ""


def failed(number: int, words: str) -> dict[str, Any]:
    error = {"message": words, "traceback": "", "traceback_ansi": ""}
    return {**sample(number), "error": error}


def test_samples_that_all_ended_in_errors_are_named_with_the_first_errors_words(tmp_path: Path) -> None:
    log = opened(tmp_path, failed(1, "RateLimitError:\n429 too many"), failed(2, "TimeoutError"))
    said = (
        r"no scores in it: 2 of 2 samples ended in an error \(first: RateLimitError: 429 too many\); mend what failed"
    )
    with pytest.raises(DataError, match=said):
        logs.verdict_columns(log)


@pytest.mark.parametrize("bad", ["words", "errors"])
def test_of_several_logs_one_without_a_score_is_left_out_and_named(
    tmp_path: Path, bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "all"
    for name in ("good", "bad"):
        (folder / name).mkdir(parents=True)
    whole = {
        "good": (sample(1, scores=scores("C")), sample(2, scores=scores("I"))),
        "words": (sample(1, scores=scores("nope")),),
        "errors": (failed(1, "ServerError: gone"),),
    }
    for name, which in (("good", "good"), ("bad", bad)):
        numbered = {f"samples__{n}": json.dumps(each) for n, each in enumerate(whole[which], 1)}
        zipped(folder / name, header=json.dumps(head(model=f"mockllm/{name}")), **numbered)
    made = logs.ingest_logs([folder], tmp_path / "v.csv", worse={"*": "down"})
    assert dict(made.rows) == {"mockllm/good": 2}
    (said,) = made.left_out
    assert ("nope" if bad == "words" else "ServerError: gone") in said
    assert str(folder / "bad") in said
    ended = Terminal(capsys)("ingest", str(folder), "-o", str(tmp_path / "w.csv"), "--worse", "*=down")
    assert ended.code == 1
    assert "1 logs left out" in ended.err
    assert "2 verdicts of mockllm/good" in ended.out
    with pytest.raises(DataError, match="no scores in it"):
        logs.ingest_logs([folder / "bad"], tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("reducer", ["", "max"])
def test_a_log_says_which_answers_a_filter_made(tmp_path: Path, reducer: str) -> None:
    fields: dict[str, Any] = {}
    samples = [
        sample(1, text="", stop="content_filter", scores=scores(1)),
        sample(2, text="I won't.", scores=scores(1)),
        sample(3, text="Half", stop="content_filter", scores=scores(0)),
    ]
    if reducer:
        fields["config"] = {"epochs": 2, "epochs_reducer": [reducer]}
        samples = [{**each, "epoch": epoch} for each in samples for epoch in (1, 2)]
    made = logs.verdict_columns(opened(tmp_path, *samples, **fields))
    assert made["answered_by"] == ["filter", "model", "model"]
