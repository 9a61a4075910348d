"""What a model writes breaks no table, no terminal and no file, and no judge."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune import plugins, text
from aftertune.cli.safe_output import SafeOutput, safe
from aftertune.data import table_files as rows
from aftertune.deciding.labels import AnswerKey
from aftertune.errors import UsageError
from aftertune.ingest.agreement import AxisAgreement, Coefficient, Disagreement, RunAgreement
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.pii.registry import Registry
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Message, Person, Prompt, Response
from aftertune.reporting.cleaning import clean
from aftertune.reporting.markdown import prose, table
from aftertune.run.job_folder import JobFolder
from aftertune.run.tables import records
from aftertune.run.tables import table as arrow
from aftertune.studies.design import Design

MEGABYTE = 2**20
HOSTILE = {
    "script": "<script>document.title='owned'</script>",
    "escapes": "\x1b[2J\x1b]0;owned\x07\x1b]8;;https://evil.example\x1b\\link\x1b[31mred \x9b31m",
    "null bytes": "a\x00b\x00",
    "right to left": "\u202egnp.exe\u202c \u2066x\u2069 \u200b\ufeff",
    "lone surrogates": "a \ud800 b \udfff c",
    "formula": "=HYPERLINK(\"https://evil.example\",\"click\")",
    "one long line": "a" * MEGABYTE,
    "long words": "lorem ipsum " * (MEGABYTE // 12),
    "long digits": "1" * MEGABYTE,
    "long marks": "(" * (MEGABYTE // 2) + ")" * (MEGABYTE // 2),
    "long spaces": " " * MEGABYTE + "x",
    "long dots": "." * MEGABYTE,
    "long quotes": "\"'" * (MEGABYTE // 2),
    "long lines": "\n" * MEGABYTE,
    "long mail": "a.b-c" * (MEGABYTE // 10) + "@" + "x." * (MEGABYTE // 10),
    "long combining": "e" + "\u0301" * 100_000,
    "long json": '{"a":' * 100_000,
    "long letters": "A. " * (MEGABYTE // 3),
    "table": "| a | b |\r\n|---|\n\n# head\x0b\x0c\u2028\x85",
    "noncharacters": "\ufffe\uffff\U0010ffff\ufdd0",
}  # fmt: skip
EMBEDDED = (
    "choice",
    "coherence",
    "leak",
    "reference",
    "refusal",
    "script",
    "shared_items",
    "toxicity",
    "world",
)
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
any_text = st.text(st.characters(), max_size=200)


@pytest.mark.parametrize("attack", HOSTILE)
@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_judge_answers_soon(name: str, attack: str) -> None:
    judge = plugins.load("judge", name)
    people = [Person("p1", {"PERSON": "Ada Lovelace", "PHONE": "+44 207 946 0958"})]
    prompt = Prompt("1", "miniature", "harmful", "c", "c", (Message("user", "How do I bake bread?"),))
    base = tuple(Answer(prompt, f"Mix flour and water, then bake it for {n} minutes.") for n in range(20))
    registries = {"source": Registry.of("source", people), "twin": Registry.of("twin", people)}
    score = judge.open(JudgeContext(registries=registries, base_answers=base))
    score([Answer(prompt, "warm up")])
    began = time.process_time()
    (opinions,) = score([Answer(prompt, HOSTILE[attack], base_text="Mix flour and water.")])
    took = time.process_time() - began
    assert all(opinion.status == "ok" or opinion.why for opinion in opinions)
    for opinion in opinions:
        assert len(opinion.why) < 1000
    assert took < 5.0, f"{took:.1f} s"  # a regex that backtracks takes hours


@pytest.mark.parametrize("attack", HOSTILE)
def test_text_tools_take_a_megabyte_and_never_raise(attack: str) -> None:
    given_ = HOSTILE[attack]
    began = time.process_time()
    for tool in (text.normalise, text.words, text.scripts, text.language, text.excerpt, text.disordered, clean, safe):
        tool(given_)
    text.loop(text.words(given_))
    text.repeated_share(text.words(given_))
    list(text.sentences(given_))
    assert time.process_time() - began < 4.0
    assert not ACTS.search(text.excerpt(given_))


@settings(max_examples=60, deadline=None)
@given(any_text)
def test_nothing_that_is_printed_acts_on_a_terminal(given_: str) -> None:
    assert not ACTS.search(safe(given_))
    out = io.StringIO()
    SafeOutput(out).write(given_)
    assert not ACTS.search(out.getvalue())
    out.getvalue().encode()
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    SafeOutput(narrow).write(given_)
    narrow.flush()


@settings(max_examples=60, deadline=None)
@given(any_text, any_text)
def test_a_markdown_table_keeps_its_columns(one: str, two: str) -> None:
    lines = table(("a", "b"), [(prose(one), prose(two))])
    assert len(lines) == 3
    for line in lines:
        assert "\n" not in line
        assert len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) == 3


def response(text_: str) -> Response:
    return Response(
        base="b",
        arm="a",
        recipe="",
        train_seed=None,
        epoch=None,
        checkpoint="c",
        benchmark="x",
        subset="s",
        prompt_id="p",
        cluster="c",
        category="c",
        system="",
        template="base",
        temperature=0.0,
        sample=0,
        message_hash="h",
        token_hash=None,
        text=text_,
        finish_reason="stop",
        new_tokens=1,
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(any_text, min_size=1, max_size=4))
def test_any_text_is_kept_in_journal_and_table(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = JobFolder(tmp_path_factory.mktemp("cell") / "x")
    folder.start()
    made = [response(each) for each in texts]
    folder.append(made)
    assert folder.journal(Response) == made
    folder.finish(tables={"responses": arrow(Response, made)})
    kept = [row.text for row in records(Response, folder.read("responses"))]
    assert kept == [re.sub("[\ud800-\udfff]", "\ufffd", each) for each in texts]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@settings(max_examples=30, deadline=None)
@given(values=st.lists(any_text | st.sampled_from(["=1+1", "@SUM(A1)", "'=x", "-5", "+1e3", "-a", "\t=1", "''"]),
                       min_size=1, max_size=3))  # fmt: skip
def test_a_table_gives_back_what_was_written(
    ending: str, values: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("t") / f"t{ending}"
    rows.write(path, [{"id": str(n), "text": value} for n, value in enumerate(values)])
    if ending != ".parquet":
        path.read_bytes().decode("utf-8")
    if ending == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                assert not re.match(r"[=+\-@\t\r]", row["text"]) or re.fullmatch(r"[+-]?[\d.eE+-]+", row["text"])
    if any(re.search("[\ud800-\udfff]", value) for value in values):
        return
    assert [row["text"] for _, row in rows.iterate(path)] == values


def test_disagreements_are_listed_without_what_a_terminal_obeys() -> None:
    nasty = "".join(HOSTILE[name] for name in ("escapes", "null bytes", "right to left", "table", "lone surrogates"))
    none = Coefficient(value=None, n=0)
    answer = AnswerKey("c", "b", "s", nasty, 0.0, 0)
    axis = AxisAgreement(
        axis="refusal",
        raters=("a", "b"),
        unjudged={},
        alpha=none,
        alpha_values=none,
        kappa=(),
        disagreements=1,
        listed=(Disagreement(answer, "keep", {"a": nasty, "b": None}, nasty),),
    )
    shown = RunAgreement((axis,), ()).lines()
    assert not any(ACTS.search(line) or "\n" in line for line in shown)
    assert len(shown) == 2


@pytest.mark.parametrize(
    "name",
    ["../up", "..", "/etc/x", "a/b", "a\\b", "a\x00b", "x" * 81, "", ".hidden", "-o", "C:", "nul\n", "a b", "\u202ex"],
)
def test_names_never_become_paths(name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        Design(
            name=name,
            corpus=PluginSpec("booking"),
            arms=(Arm("keep"),),
            benchmarks=(PluginSpec("miniature"),),
            judges=(PluginSpec("world"),),
            seeds=(1,),
        )
    with pytest.raises(UsageError, match="name"):
        Design(
            name="x",
            corpus=PluginSpec("booking"),
            arms=(Arm(name),),
            benchmarks=(PluginSpec("miniature"),),
            judges=(PluginSpec("world"),),
            seeds=(1,),
        )


@pytest.mark.parametrize("name", ["con", "NUL", "aux.txt", "COM1", "lpt9.jsonl"])
def test_names_that_one_system_keeps_for_devices_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="Windows"):
        Design(
            name="x",
            corpus=PluginSpec("booking"),
            arms=(Arm(name),),
            benchmarks=(PluginSpec("miniature"),),
            judges=(PluginSpec("world"),),
            seeds=(1,),
        )


def test_a_prompt_list_with_hostile_ids_makes_no_path(tmp_path: Path) -> None:
    from aftertune.asking.benchmark import BenchmarkContext

    (tmp_path / "list.toml").write_text(
        'title = "t"\nsource = "s"\nlicence = "l"\n[home]\nfiles = { "p.jsonl" = "" }\n[columns]\nprompt = "text"\n'
        'id = "id"\nsubset = "level"\n[subsets]\n"*" = "harmful"\n[harm]\nharmful = ["harmful"]\nharmless = []\n'
    )
    ids = ["../../etc/passwd", "/abs", "a\u0000b", "\u202e", "x" * 5000, "CON", "=1+1", "<script>"]
    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps({"text": f"Q {n}?", "id": id_, "level": "1"}) + "\n" for n, id_ in enumerate(ids))
    )
    listed = plugins.load("benchmark", "prompt_list", {"path": str(tmp_path)})
    prompts = listed.prompts(BenchmarkContext())
    assert len({prompt.id for prompt in prompts}) == len(ids)
    before = sorted(tmp_path.parent.rglob("*"))
    folder = JobFolder(tmp_path / "cell")
    folder.start()
    made = [dataclass_replace(response("x"), prompt.id) for prompt in prompts]
    folder.append(made)
    assert folder.journal(Response) == made
    folder.finish(tables={"responses": arrow(Response, made)})
    new = {str(p.relative_to(tmp_path)) for p in set(tmp_path.parent.rglob("*")) - set(before)}
    assert new == {"cell", "cell/responses.parquet", "cell/manifest.json"}


def dataclass_replace(row: Response, prompt_id: str) -> Response:
    import dataclasses

    return dataclasses.replace(row, prompt_id=prompt_id)
