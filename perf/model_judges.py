"""A language model that is too small to judge, as a judge all the same: its path, and its error by arm on real answers.

The answers are those of `perf/readings.py` that rules may be tuned on (the half kept apart is not touched): of each arm
those that were read as harmful, five at most, and as many others as make eight, by chance. The judge is SmolLM2-135M
with the rubric `harmbench`, on this machine and behind a server on loopback, which must say the same; or in the text of
a published safety classifier, which is read off probabilities, so that every answer has a verdict.

`python -m perf.model_judges GGUF [--served N] [--rubric NAME | --format NAME]`: two CPU minutes.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Sequence

from perf.readings import FIRST, POSITIVE, SHEETS, Reading, readings
from tests import scripted_server

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from aftertune.deciding.judge_reliability import by_trial
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion
from aftertune.judging.judges.rubric import Rubric
from aftertune.judging.judges.safety_classifier import SafetyClassifier
from aftertune.judging.opinions import opinions
from aftertune.judging.trial import check
from aftertune.models.session import Backend, Request, Session
from aftertune.records import Message, Prompt, plain
from aftertune.stats.paired import wilson

AXIS = "harm"
PER_ARM, MOST_POSITIVE, CHARACTERS = 8, 5, 300


def chosen() -> list[Reading]:
    """Return the answers that are judged."""
    draw = random.Random(0)
    rows = [row for row in readings() if not row.kept_apart]
    out = []
    for arm in SHEETS[FIRST].arms:
        own = [row for row in rows if row.arm == arm and row.subset == "harmful"]
        draw.shuffle(own)
        yes = [row for row in own if row.label(AXIS) == POSITIVE[AXIS]][:MOST_POSITIVE]
        out += yes + [row for row in own if row.label(AXIS) != POSITIVE[AXIS]][: PER_ARM - len(yes)]
    return out


def answers(rows: Sequence[Reading]) -> list[Answer]:
    """Return them as judges are given them."""
    prompts = {prompt.id: prompt for prompt in Core(per_category=2).prompts(BenchmarkContext())}
    return [Answer(prompts[row.prompt_id], row.answer) for row in rows]


def judged(judge: Judge, given: Sequence[Answer]) -> list[Opinion]:
    """Return the judge's opinions, one an answer, and print what they cost."""
    began = time.process_time()
    found = [next(iter(each)) for each in opinions(judge, given, JudgeContext())]
    print(f"  {len(given)} answers in {time.process_time() - began:.0f} CPU seconds; {judge.cost}")
    return found


def errors(rows: Sequence[Reading], found: Sequence[Opinion]) -> None:
    """Print, by arm and in all, what the judge finds of what was read as harmful, and what it calls so of the rest."""
    for arm in (*SHEETS[FIRST].arms, "all"):
        pairs = [
            (one.label == POSITIVE[AXIS], row.label(AXIS) == POSITIVE[AXIS], one.status)
            for row, one in zip(rows, found, strict=True)
            if arm in (row.arm, "all")
        ]
        cells = []
        for so in (True, False):
            own = [called for called, truth, _ in pairs if truth == so]
            if own:
                low, high = wilson(sum(own), len(own))
                cells.append(f"{sum(own)} of {len(own)} [{low:.2f}, {high:.2f}]")
            else:
                cells.append("none")
        unread = sum(status != "ok" for _, _, status in pairs)
        print(f"  {arm}: called harmful of those read so {cells[0]}, of the others {cells[1]}; unreadable {unread}")


def replying(session: Session) -> scripted_server.Scripted:
    """Return a server that answers chats with a model on this machine; trial requests get stock words."""
    one_at_a_time = threading.Lock()

    def say(body: scripted_server.Body) -> str:
        if scripted_server.trial(body):
            return "stock words"
        turns = tuple(Message(turn["role"], turn["content"]) for turn in body["messages"])
        prompt = Prompt("p", "rubric", "", "", "", turns)
        with one_at_a_time:
            request = Request(prompt, 0.0, 0, 0, body["max_tokens"])
            (reply,) = session.respond([request], system=None, template="base")
        return reply.text

    return scripted_server.Scripted(say=say, models={"smol": {}})


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="GGUF file or folder of the judge model")
    parser.add_argument("--served", type=int, default=6, help="how many answers the server is asked about")
    parser.add_argument("--rubric", default="harmbench")
    parser.add_argument("--format", default="", help="of a safety classifier, e.g. harmbench; nothing is served then")
    asked = parser.parse_args()
    here: Backend = plugins.load("backend", "transformers", {"device": "cpu"})
    judge: Judge = Rubric(asked.model, here, asked.rubric, CHARACTERS, despite_trial=True)
    if asked.format:
        judge = SafetyClassifier(asked.model, here, asked.format, CHARACTERS, despite_trial=True)
    rows = chosen()
    print(f"{judge.name}, {judge.version}")
    found = judged(judge, answers(rows))
    errors(rows, found)
    for axis, trial in check(judge).items():
        print(f"  trial: {by_trial(judge.name, axis, plain(trial)) or 'passed'}")
    if asked.format:
        return
    # Its own copy of the model: a judge's is closed where another judge opens.
    with here.open(asked.model) as session, scripted_server.serving(replying(session)) as script:
        session.use(None)
        server = plugins.load("backend", "endpoint", {"url": script.url, "concurrency": 1, "only_temperature": 0.0})
        served = Rubric("smol", server, asked.rubric, CHARACTERS, despite_trial=True)
        some = answers(rows)[:: max(1, len(rows) // asked.served)][: asked.served]
        there = judged(served, some)
    same = found[:: max(1, len(rows) // asked.served)][: asked.served]
    alike = sum((a.label, a.status) == (b.label, b.status) for a, b in zip(same, there, strict=True))
    print(f"  on a server: {alike} of {len(there)} verdicts the same")


if __name__ == "__main__":
    main()
