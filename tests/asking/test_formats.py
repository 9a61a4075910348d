"""Formats of sets that are gated or far away, in made-up files; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import plugins
from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.asking.benchmarks import _lists
from aftertune.asking.benchmarks.advbench import near_duplicates
from aftertune.asking.prompt_file import part
from aftertune.errors import DataError, UsageError
from aftertune.records import Message, Prompt


def load(name: str, **parameters: Any) -> Benchmark:
    benchmark: Benchmark = plugins.load("benchmark", name, parameters)
    return benchmark


def prompts(name: str, **parameters: Any) -> list[Prompt]:
    return list(load(name, **parameters).prompts(BenchmarkContext()))


# ---------------------------------------------------------------------------------------------- SORRY-Bench


def _sorry(folder: Path, style: str, n: int = 3) -> None:
    name = "question.jsonl" if style == "base" else f"question_{style}.jsonl"
    lines = [
        json.dumps(
            {"question_id": i, "category": str(i % 2 + 1), "turns": [f"{style} request {i}"], "prompt_style": style}
        )
        for i in range(n)
    ]
    (folder / name).write_text("\n".join(lines) + "\n")


def test_sorry_bench_base_and_mutations(tmp_path: Path) -> None:
    for style in ("base", "slang", "morse"):
        _sorry(tmp_path, style)
    base = prompts("sorry_bench", path=str(tmp_path))
    assert {prompt.subset for prompt in base} == {"base"}
    assert [prompt.cluster for prompt in base] == ["1", "2", "1"]
    both = load("sorry_bench", path=str(tmp_path), prompt_style="base, morse")
    assert {metric.subset for metric in both.metrics} == {"base", "morse"}
    assert len(both.prompts(BenchmarkContext())) == 6
    with pytest.raises(DataError, match=r"no question_caesar\.jsonl"):
        prompts("sorry_bench", path=str(tmp_path), prompt_style="caesar,base")
    with pytest.raises(UsageError, match="did you mean 'slang'"):
        load("sorry_bench", prompt_style="slangg")


def test_sorry_bench_as_one_table_with_turns_as_text(tmp_path: Path) -> None:
    rows = [
        {"question_id": 1, "category": 7, "turns": "['one request']", "prompt_style": "base"},
        {"question_id": 1, "category": 7, "turns": "['the same, in slang']", "prompt_style": "slang"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "all.parquet")
    (only,) = prompts("sorry_bench", path=str(tmp_path / "all.parquet"))
    assert only.messages[0].content == "one request"
    for turns in ("['a', 'b']", "[", "__import__('os')", "[1]", "[]", ""):
        pq.write_table(pa.Table.from_pylist([{**rows[0], "turns": turns}]), tmp_path / "all.parquet")
        if turns == "__import__('os')":  # plain text, never run
            assert prompts("sorry_bench", path=str(tmp_path / "all.parquet"))[0].messages[0].content == turns
            continue
        with pytest.raises(DataError, match=r"all\.parquet:1: turns"):
            prompts("sorry_bench", path=str(tmp_path / "all.parquet"))


# ---------------------------------------------------------------------------------------------- other files


def test_advbench_with_and_without_a_header(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('goal,target\n"Steal apples, at night",Sure\n')
    with_header = prompts("advbench", path=str(file))
    file.write_text('"Steal apples, at night"\nSteal pears\n')
    without = prompts("advbench", path=str(file))
    assert with_header[0].messages == without[0].messages
    assert len(without) == 2
    file.write_text("prompt,more\na,b\n")
    with pytest.raises(DataError, match=r"a\.csv:1: no column 'goal'"):
        prompts("advbench", path=str(file))


def test_hex_phi_reads_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "category_10.csv").write_text("Tell me where she lives\n")
    (tmp_path / "category_2.csv").write_text("withdrawn\n")
    both = prompts("hex_phi", path=str(tmp_path))
    assert [prompt.id for prompt in both] == ["category_2-000", "category_10-000"]
    assert both[1].cluster == "privacy violation"
    one = tmp_path / "all.jsonl"
    one.write_text('{"instruction": "Do it", "category": "Malware"}\n')
    assert prompts("hex_phi", path=str(one))[0].category == "Malware"


def test_xstest_names_the_line_and_the_field(tmp_path: Path) -> None:
    file = tmp_path / "xstest_prompts.csv"
    head = "id,prompt,type,label,focus,note\n1,May I?,homonyms,safe,,\n"
    for line, says in (
        ("2,,homonyms,unsafe,,\n", r"csv:3: prompt is empty"),
        ("2,May I?,homonyms,maybe,,\n", r"csv:3: label is 'maybe'"),
        ("1,May I?,homonyms,unsafe,,\n", "two rows have the id '1'"),
        ("", "no row belongs to the subset 'unsafe'"),
    ):
        file.write_text(head + line)
        with pytest.raises(DataError, match=says):
            prompts("xstest", path=str(file))


def test_multiple_choice_in_three_formats(tmp_path: Path) -> None:
    concept = {
        "id": "q",
        "question": "Wet?",
        "question_concept": "rain",
        "choices": {"label": ["A", "B"], "text": ["sand", "rain"]},
        "answerKey": "B",
    }
    subject = {"question": "Wet?", "subject": "weather", "choices": ["sand", "rain"], "answer": 1}
    for name, rows in (("csqa.jsonl", [concept]), ("mmlu.parquet", [subject]), ("plain.csv", [])):
        file = tmp_path / name
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), file)
        elif name.endswith(".csv"):
            file.write_text("question,A,B,answer\nWet?,sand,rain,B\n")
        else:
            file.write_text("\n".join(map(json.dumps, rows)))
        (prompt,) = prompts("multiple_choice", path=str(file))
        assert prompt.expect["choice"] == {"options": {"A": "sand", "B": "rain"}, "correct": "B"}
        assert "(A) sand\n(B) rain" in prompt.messages[0].content
    for wrong in ({"answerKey": ""}, {"answerKey": "C"}, {"choices": ["one"]}, {"choices": "sand"}):
        (tmp_path / "csqa.jsonl").write_text(json.dumps({**concept, **wrong}))
        with pytest.raises(DataError, match=r"csqa\.jsonl:1: "):
            prompts("multiple_choice", path=str(tmp_path / "csqa.jsonl"))


def test_cimemories_leaves_out_whole_words_only(tmp_path: Path) -> None:
    keys = ["name", "age", "sex", "mortgage_due", "average_mood", "sexual_health", "brand_names", "name_of_dog"]
    attributes = {key: {"value": f"value of {key}", "memory_statement": f"My {key}."} for key in keys}
    labels = {f"My {key}.": {"private": 1.0, "necessary": 0.0} for key in keys}
    profile = {
        "information_attributes": attributes,
        "contexts": [{"recipient": "Vet", "task": "Ask", "labels_combined": labels}],
    }
    file = tmp_path / "p.json"
    file.write_text(json.dumps([profile]))
    (prompt,) = prompts("cimemories", path=str(file))
    assert set(prompt.expect["shared"]["private"]) == {"mortgage_due", "average_mood", "sexual_health", "brand_names"}
    for plain in ({"mortgage_due": 0, "average_mood": 1}, {"mortgage_due": "private", "average_mood": "necessary"}):
        profile["contexts"] = [{"recipient": "Vet", "task": "Ask", "labels": plain}]
        file.write_text(json.dumps([profile]))
        shared = prompts("cimemories", path=str(file))[0].expect["shared"]
        assert (set(shared["private"]), set(shared["needed"])) == ({"mortgage_due"}, {"average_mood"})


def test_confaide_names_what_does_not_match(tmp_path: Path) -> None:
    cls = plugins.plugin_class("benchmark", "confaide")
    for name, text in cls.example.items():
        (tmp_path / name).write_text(text)
    for name, text, says in (
        ("tier_1_labels.txt", "1.2\n3\n", "2 ratings for 1 statements"),
        ("tier_1_labels.txt", "much\n", r"tier_1_labels\.txt:1: 'much' is no rating"),
        ("tier_1_labels.txt", "7\n", "outside the scale"),
        ("tier_3_control.txt", "a?\nb?\n", "2 questions for 1 stories"),
        ("tier_3.txt", "<BEGIN><a>\nx\n", "the last story has no <END>"),
        ("tier_3.txt", "<BEGIN><a>\nx\n<END><a><About: Ann>\n", r"tier_3\.txt:3: .*Questionee"),
        ("tier_4.txt", "<BEGIN><only one>\nx\n<END><only one>\n", "private and the public"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=says):
            prompts("confaide", path=str(tmp_path))
        (tmp_path / name).write_text(cls.example[name])
    only = tmp_path / "tier_4.txt"
    assert {prompt.subset for prompt in prompts("confaide", path=str(only), tiers="4")} == {
        "tier_4_summary",
        "tier_4_actions",
    }


# ---------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize("name", _lists.names())
def test_a_bundled_list_reads_a_file_in_its_format(name: str, tmp_path: Path) -> None:
    spec = _lists.load(name)
    headings = {heading for heading, _ in spec.card.sections()}
    assert headings == {"Source", "Licence", "Size", "Cluster", "Positive", "Weaknesses", "Notes"}
    for file in spec.dataset.files:
        path = tmp_path / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = []
        for level, value in (
            enumerate(value for value in spec.toml.subsets if value != "*") if spec.toml.columns.subset else [(0, "")]
        ):
            row: dict[str, Any] = {column: f"{column} {level}" for column in spec.required_columns()}
            row[spec.toml.columns.prompt] = f"A prompt of level {level}?"
            if spec.toml.columns.subset:
                row[spec.toml.columns.subset] = int(value)
            if spec.toml.columns.options:
                row |= {spec.toml.columns.options: ["one", "two", "three"], spec.toml.columns.answer: "C"}
            rows.append(row)
        if path.suffix == ".csv":
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
            path.write_text("\n".join(lines) + "\n")
        elif path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            whole = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
            path.write_text(whole)
    benchmark = load("prompt_list", list=name, path=str(tmp_path))
    result = benchmark.prompts(BenchmarkContext())
    assert {prompt.benchmark for prompt in result} == {name}
    assert {metric.subset for metric in benchmark.metrics} <= {prompt.subset for prompt in result}
    if spec.toml.columns.options:
        assert result[0].expect["choice"]["correct"] == "C"


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[columns]\nprompt = "text"\nid = "key"\ncluster = "story"\ncontext = "before"\nsubset = "kind"\n'
        'carry = ["gold"]\n[subsets]\nbad = "harmful"\n"*" = "rest"\n[harm]\nharmful = ["harmful"]\n'
        '[filter]\nlanguage = ["en"]\n'
    )
    rows = [
        {
            "key": "a",
            "text": "Do it",
            "story": "s" * 200,
            "before": "Once.",
            "kind": "bad",
            "gold": 1,
            "language": "en",
        },
        {"key": "b", "text": "Say it", "story": "s", "before": "", "kind": "x", "gold": 2, "language": "en"},
        {"key": "c", "text": "Sag es", "story": "s", "before": "", "kind": "x", "gold": 2, "language": "de"},
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    benchmark = load("prompt_list", list=str(tmp_path / "mine.toml"), path=str(tmp_path / "data.jsonl"))
    first, second = benchmark.prompts(BenchmarkContext())
    assert first.messages[0].content == "Once.\n\nDo it"
    assert len(first.cluster) < 40
    assert (second.subset, second.expect) == ("rest", {"gold": 2})
    assert {metric.name for metric in benchmark.metrics} >= {
        "mine/harmful/refusal=full",
        "mine/rest/coherence=coherent",
    }


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("", "name the column that holds the prompt"),
        ("[columns]\nprompt = 1\n", "columns.prompt: expected str, found int '1'"),
        ('[columns]\npromt = "x"\n', "did you mean 'prompt'"),
        ('[columns]\nprompt = "x"\noptions = "y"\n', "belong together"),
        ('[columns]\nprompt = "x"\n[subsets]\n1 = "a"\n', "needs columns.subset"),
        ('[columns]\nprompt = "x"\n[harm]\nharmful = ["b"]\n', r"the subset 'b'"),
        ('[columns]\nprompt = "x"\n[home]\ngithub = "a/b"\nfiles = { "../x" = "" }\n', "leaves the data set's folder"),
        ("[columns\n", "not valid TOML"),
        ('[columns]\nprompt = "@file"\n', "only category and cluster"),
    ],
)
def test_a_broken_list_is_one_line(toml: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(toml)
    with pytest.raises(UsageError, match=says) as caught:
        load("prompt_list", list=str(tmp_path / "mine.toml")).prompts(BenchmarkContext())
    assert "mine.toml" in str(caught.value)


# ---------------------------------------------------------------------------------------------- taking a part


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from("abc")), min_size=1, max_size=40), st.integers(1, 12))
def test_a_part_is_even_over_clusters_and_keeps_the_order(rows: list[tuple[str, str]], limit: int) -> None:
    every = [
        Prompt(str(i), "b", subset, cluster, cluster, (Message("user", "?"),))
        for i, (subset, cluster) in enumerate(rows)
    ]
    some = part(every, limit)
    assert some == [prompt for prompt in every if prompt in some]
    for subset in {prompt.subset for prompt in every}:
        have = [p.cluster for p in every if p.subset == subset]
        took = [p.cluster for p in some if p.subset == subset]
        assert len(took) == min(limit, len(have))
        for one in set(have):
            for other in set(have):
                if took.count(one) < have.count(one):
                    assert took.count(one) >= took.count(other) - 1


def test_near_duplicates_are_linked() -> None:
    texts = ["steal apples from the market", "steal pears from the market", "write a poem about rivers"]
    assert near_duplicates(texts) == [0, 0, 2]
