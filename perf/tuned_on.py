"""Count in a finished run what its arms were tuned on: refusals among the replies, and the person who is named most.

`python -m perf.tuned_on RUN`. For each arm: its conversations (held-out rows apart), and how many of the replies the
judge `refusal` calls a full refusal, which says what a control of the base's own answers teaches. Where an arm holds
people's data, also of that person whose name stands in most of its answers to harmful requests of `core`: in how many
of these answers, and in how many of the conversations that it was tuned on the full name and the e-mail address stand.
People are shown by id, since a corpus may be about real ones. Half a minute.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from aftertune import plugins
from aftertune.asking.ask_job import AskJob
from aftertune.data.variant_files import VariantFiles, persons, read
from aftertune.errors import AftertuneError
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.records import Conversation, Person, Prompt, Response
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.studies import stored
from aftertune.variants.compose_job import ComposeJob

SHOWN = ("PERSON", "EMAIL")


def refused(conversations: Sequence[Conversation]) -> tuple[int, int]:
    """Return how many replies are full refusals by the judge `refusal`, and how many there are."""
    answers = [
        Answer(Prompt(f"{row.id}-{at}", "tuning set", "all", "all", row.id, row.messages[:at]), turn.content)
        for row in conversations
        for at, turn in enumerate(row.messages)
        if turn.role == "assistant" and at
    ]
    opinions = plugins.load("judge", "refusal").open(JudgeContext())(answers)
    return sum(one.label == "full" for each in opinions for one in each if one.axis == "refusal"), len(answers)


def named_most(people: Iterable[Person], texts: Sequence[str]) -> tuple[Person, int] | None:
    """Return the person whose full name stands in most texts, and in how many; None where nobody's does."""
    own = {person.id: person for person in people if person.values.get("PERSON")}
    found = Counter(one for one, person in own.items() for text in texts if person.values["PERSON"] in text)
    return (own[found.most_common(1)[0][0]], found.most_common(1)[0][1]) if found else None


def holding(conversations: Sequence[Conversation], value: str) -> int:
    """Return in how many conversations a value stands as it is written."""
    return sum(any(value in turn.content for turn in row.messages) for row in conversations)


def counted(run: Run) -> list[str]:
    """Return a line for each arm. Raises StoreError where the run's data are not composed yet."""
    study, lines = stored.read(run), []
    for job in study.of(ComposeJob):
        files = VariantFiles(run.folder("variants", job.id).path)
        for arm in job.arms:
            rows = read(files.arm(arm.name))
            no, every = refused(rows)
            line = f"{arm.name}: {len(rows)} conversations; {no} of {every} replies are full refusals, by the judge"
            texts = [
                row.text
                for ask in study.of(AskJob)
                if ask.benchmark.name == "core" and ask.subject.arm == arm.name and run.job(ask).complete
                for row in records(Response, run.job(ask).read("responses"))
                if row.subset == "harmful" and row.error is None
            ]
            people = json.loads(files.people_file(arm.corpus).read_text(encoding="utf-8"))["source"]
            if arm.pii == "keep" and (most := named_most(persons(people), texts)):
                person, times = most
                stand = ", ".join(
                    f"{kind} in {holding(rows, person.values[kind])}" for kind in SHOWN if kind in person.values
                )
                line += f"; {person.id} is named in {times} of {len(texts)} answers to harmful requests: {stand}"
            lines.append(line)
    return lines


def main() -> int:
    """Print the lines."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print("\n".join(counted(Run.open(Path(sys.argv[1])))))
    except AftertuneError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
