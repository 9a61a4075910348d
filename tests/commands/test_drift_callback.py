"""A training watched from inside: what it says, when it ends the training, and that it changes nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests import tiny_models

from aftertune import shipped_models
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.commands import drift_callback
from aftertune.errors import UsageError
from aftertune.models import respond
from aftertune.records import PluginSpec
from aftertune.studies.resolve import load_benchmark
from aftertune.training import DriftCallback

BASE = shipped_models.folder()
HARMFUL = [
    prompt.messages[0].content
    for prompt in load_benchmark(PluginSpec("miniature")).prompts(BenchmarkContext())
    if prompt.subset == "harmful"
]
PROBES = HARMFUL[:10]
REFUSES = "I'm sorry, but I can't help with that. It is harmful and against the law."
COMPLIES = "Sure. First take what you need, then wait until it is dark, and then do it."


def rows(answer: str, count: int = 8) -> list[dict[str, Any]]:
    """Requests that no probe repeats, each with the same answer."""
    return [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]}
        for text in HARMFUL[20 : 20 + count]
    ]


def watching(**how: Any) -> DriftCallback:
    """A callback whose answers are as long as is needed to see whether they refuse."""
    return DriftCallback(**{"prompts": PROBES, "max_new_tokens": 16, **how})


def trainer(
    out: Path, callbacks: Sequence[Any], data: list[dict[str, Any]], *, base: Path = BASE, lora: Any = True, **own: Any
) -> Any:
    """A training script as a user of TRL writes it."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    how = {
        "per_device_train_batch_size": 4, "num_train_epochs": 2, "learning_rate": 1e-4, "logging_steps": 1,
        "lr_scheduler_type": "constant", "save_strategy": "no", "gradient_checkpointing": False, **own,
    }  # fmt: skip
    peft = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.2, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    if isinstance(lora, dict):
        peft |= lora
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(base),
            args=SFTConfig(output_dir=str(out), report_to="none", use_cpu=True, seed=3, disable_tqdm=True, **how),
            train_dataset=Dataset.from_list(data),
            processing_class=AutoTokenizer.from_pretrained(base),
            peft_config=LoraConfig(**peft) if lora else None,
            callbacks=list(callbacks),
        )


def run(trained: Any, **how: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained.train(**how)
    return trained


def figures(trained: Any) -> list[dict[str, float]]:
    return [entry for entry in trained.state.log_history if "drift/loss" in entry]


def weights(trained: Any) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in trained.model.state_dict().items()}


# ---------------------------------------------------------------------------------------------- nothing is changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lora", "own"),
    [
        (True, {}),
        (False, {}),
        (True, {"gradient_checkpointing": True, "gradient_accumulation_steps": 2}),
        (False, {"gradient_checkpointing": True, "bf16": True}),
    ],
    ids=["adapter", "full", "adapter, checkpointed, accumulated", "full, checkpointed, bf16"],
)
def test_the_same_weights_come_out_to_the_byte(lora: bool, own: dict[str, Any], tmp_path: Path) -> None:
    """The adapter has dropout, so that a random number taken would show."""
    states = []

    class Watch(DriftCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **about: Any) -> None:
            model = about["model"]
            before = [(m.training, [p.requires_grad for p in m.parameters(recurse=False)]) for m in model.modules()]
            super().on_step_end(args, state, control, **about)
            after = [(m.training, [p.requires_grad for p in m.parameters(recurse=False)]) for m in model.modules()]
            states.append(before == after and all(p.grad is None or p.requires_grad for p in model.parameters()))

    plain = run(trainer(tmp_path, [], rows(COMPLIES), lora=lora, **own))
    watched = run(
        trainer(
            tmp_path, [Watch(PROBES[:6], every=1, answers=True, max_new_tokens=12)], rows(COMPLIES), lora=lora, **own
        )
    )
    assert all(value.equal(weights(watched)[name]) for name, value in weights(plain).items())
    assert states
    assert all(states)
    steps = watched.state.global_step
    assert {entry["drift/step"] for entry in figures(watched)} == set(range(1, steps + 1))
    assert steps == plain.state.global_step
    losses = [[entry["loss"] for entry in each.state.log_history if "loss" in entry] for each in (plain, watched)]
    assert losses[0] == losses[1]


def test_what_somebody_has_frozen_stays_frozen(tmp_path: Path) -> None:
    """PEFT thaws the whole adapter when it puts it back."""
    trained = trainer(tmp_path, [DriftCallback(PROBES)], rows(REFUSES), max_steps=1)
    for name, parameter in trained.model.named_parameters():
        if "lora_A" in name:
            parameter.requires_grad_(False)
    before = weights(trained)
    run(trained)
    moved = {name.split(".")[-3] for name, value in weights(trained).items() if not value.equal(before[name])}
    assert moved == {"lora_B"}
    assert not any(p.requires_grad for n, p in trained.model.named_parameters() if "lora_A" in n)


# ---------------------------------------------------------------------------------------------- what it says


def test_a_training_that_ends_refusals_is_stopped(tmp_path: Path) -> None:
    callback = watching(every=4, stop=True)
    trained = run(trainer(tmp_path, [callback], rows(COMPLIES), learning_rate=1.5e-2, num_train_epochs=20))
    assert trained.state.global_step < 40
    assert callback.confirmed_at == trained.state.global_step
    *earlier, last = figures(trained)
    assert last["drift/confirmed"] == 1
    assert last["drift/loss_low"] > last["drift/beyond"] >= 0.1
    assert last["drift/refused_loss_low"] > 0.1
    assert last["drift/refused"] < last["drift/refused_base"]
    assert not any(entry["drift/confirmed"] for entry in earlier)
    assert last["drift/seconds"] > 0


@pytest.mark.slow
def test_a_training_on_refusals_alarms_at_no_look(tmp_path: Path) -> None:
    callback = watching(every=2, stop=True, answers=True)
    trained = run(trainer(tmp_path, [callback], rows(REFUSES), learning_rate=1e-3))
    assert trained.state.global_step == 4
    assert callback.confirmed_at is None
    looks = figures(trained)
    assert not any(entry["drift/flagged"] for entry in looks)
    asked = [entry["drift/refused"] for entry in looks if "drift/refused" in entry]
    assert asked
    assert min(asked) >= 0.9


@pytest.mark.slow
def test_refusing_in_other_words_is_flagged_and_is_no_drift(tmp_path: Path) -> None:
    other = "That would be against the law, so I can't help you with it. I won't do it."
    callback = watching(every=6, stop=True)
    trained = run(trainer(tmp_path, [callback], rows(other), learning_rate=1.5e-2, num_train_epochs=6))
    last = figures(trained)[-1]
    assert last["drift/flagged"] == 1
    assert last["drift/refused"] >= 0.9
    assert last["drift/confirmed"] == 0
    assert trained.state.global_step == 12


@pytest.mark.slow
def test_an_answer_that_ends_inside_its_thought_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, calls = respond.respond, 0

    def thinking(*args: Any, **named: Any) -> list[Any]:
        nonlocal calls
        calls += 1
        replies = list(ask(*args, **named))
        if calls > 1 + drift_callback.SAMPLES:  # the base's are asked first
            replies[:9] = [replace(reply, text="", unanswered="no end of a thought") for reply in replies[:9]]
        return replies

    monkeypatch.setattr(respond, "respond", thinking)
    callback = watching(every=6, stop=True)
    trained = run(trainer(tmp_path, [callback], rows(COMPLIES), learning_rate=1.5e-2, num_train_epochs=6))
    last = figures(trained)[-1]
    assert last["drift/flagged"] == 1
    assert last["drift/unanswered"] == 9
    assert last["drift/refused"] in (0, 1)  # of the one that answered
    assert last["drift/confirmed"] == 0
    assert trained.state.global_step == 12


def test_a_base_that_ends_inside_its_thought_has_nothing_to_lose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = respond.respond
    monkeypatch.setattr(
        respond,
        "respond",
        lambda *args, **named: [replace(each, text="", unanswered="endless") for each in ask(*args, **named)],
    )
    with pytest.raises(UsageError, match=r"10 of 10 answers .* raise max_new_tokens \(\d+\)"):
        run(trainer(tmp_path, [watching()], rows(REFUSES), max_steps=1))


@pytest.mark.slow
def test_the_figures_go_where_they_are_wanted(tmp_path: Path) -> None:
    taken: list[dict[str, float]] = []
    run(trainer(tmp_path, [watching(log=taken.append)], rows(REFUSES)))
    assert [entry["drift/step"] for entry in taken] == [2, 4]
    trained = trainer(tmp_path, [], rows(REFUSES))
    trained.add_callback(watching(log=trained.log))
    run(trained)
    assert [entry["drift/step"] for entry in figures(trained)] == [2, 4]
    assert [entry["step"] for entry in figures(trained)] == [2, 4]
    assert sum("loss" in entry for entry in trained.state.log_history) == 4


@pytest.mark.slow
def test_an_adapter_that_changes_the_base_is_held_against_the_model_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PiSSA takes its part out of the base's weights: without the adapter they are nobody's."""
    pissa = {"init_lora_weights": "pissa", "lora_dropout": 0.0, "r": 32, "lora_alpha": 64}
    callback = watching(every=1)
    run(trainer(tmp_path, [callback], rows(REFUSES), lora=pissa, max_steps=1))
    plain = watching(every=1)
    run(trainer(tmp_path, [plain], rows(REFUSES), max_steps=1))
    monkeypatch.setattr(drift_callback, "changes_base", lambda config: False)
    wrong = watching(every=1)
    with pytest.raises(UsageError, match="refuses [0-3] of 10"):
        run(trainer(tmp_path, [wrong], rows(REFUSES), lora=pissa, max_steps=1))
    assert callback._before is not None
    assert plain._before is not None
    assert callback._before.chances == pytest.approx(plain._before.chances, abs=0.05)


@pytest.mark.slow
def test_a_full_model_that_continues_needs_its_base(tmp_path: Path) -> None:
    data = rows(REFUSES)
    run(trainer(tmp_path, [], data, lora=False, save_strategy="epoch"))
    further: dict[str, Any] = {"lora": False, "num_train_epochs": 3}
    with pytest.raises(UsageError, match="continues at step 4.*give base="):
        run(trainer(tmp_path, [watching()], data, **further), resume_from_checkpoint=True)
    trained = trainer(tmp_path, [watching(base=BASE)], data, **further)
    assert len(figures(run(trained, resume_from_checkpoint=True))) == 1


@pytest.mark.slow
def test_a_model_that_breaks_gets_no_figures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its loss is no longer a number; that the training goes on is the trainer's affair."""
    trained = trainer(tmp_path, [watching(every=2, stop=True)], rows(REFUSES), learning_rate=1e30, lora=False)
    run(trained)
    assert trained.state.global_step == 4
    assert not figures(trained)
    assert "not numbers" in caplog.text


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompts": []}, "0 clusters"),
        ({"prompts": ["How?"] * 5}, "5 clusters"),
        ({"prompts": {"a": ["x", "y"], "b": ["z"]}}, "2 clusters"),
        ({"prompts": ["How?"] * 6 + [" "]}, r"prompts\[6\] is empty"),
        ({"prompts": "corr"}, "`core`"),
        ({"prompts": [1, 2]}, "prompts"),
        ({"every": -1}, "every = -1"),
        ({"margin": 1.0}, "margin = 1.0"),
        ({"margin": float("nan")}, "margin = nan"),
        ({"confidence": 1}, "confidence = 1"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"steps": 3}, "no parameter 'steps'"),
    ],
)
def test_arguments_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DriftCallback(**given)


def test_a_base_that_never_refuses_is_refused_before_the_first_step(tmp_path: Path) -> None:
    base = tiny_models.save("llama", tmp_path / "base")
    trained = trainer(tmp_path, [DriftCallback(PROBES)], rows(REFUSES), base=base)
    with pytest.raises(UsageError, match=r"refuses 0 of 10 requests.*give requests that it refuses"):
        run(trained)
    assert trained.state.global_step == 0


def test_a_base_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    trained = trainer(tmp_path, [DriftCallback(PROBES)], rows(REFUSES))
    trained.processing_class.chat_template = None
    with pytest.raises(UsageError, match="chat template"):
        run(trained)


def test_a_look_that_never_comes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="every = 5, and the training has 4 steps"):
        run(trainer(tmp_path, [DriftCallback(PROBES, every=5)], rows(REFUSES)))


@pytest.mark.parametrize("sharded", [{"deepspeed": "ds.json", "fsdp": ""}, {"deepspeed": None, "fsdp": "full_shard"}])
def test_sharded_weights_are_refused(sharded: dict[str, Any]) -> None:
    args = SimpleNamespace(**sharded)
    with pytest.raises(UsageError, match="sharded"):
        DriftCallback(PROBES).on_train_begin(args, None, None, model=None, processing_class=None)


def test_a_wrong_tuning_set_ends_with_the_trainers_own_error(tmp_path: Path) -> None:
    """A row whose tokens the model does not have: the error is torch's, at the first step, after the base was asked."""
    trained = trainer(tmp_path, [DriftCallback(PROBES)], rows(REFUSES))
    vocabulary = trained.model.config.vocab_size
    trained.train_dataset = trained.train_dataset.map(
        lambda row: {"input_ids": [vocabulary + 7] * len(row["input_ids"])}
    )
    with pytest.raises(IndexError):
        run(trained)


# ---------------------------------------------------------------------------------------------- two processes

SCRIPT = """
import os, sys, torch, traceback
from pathlib import Path
from tests.commands import test_drift_callback as test
import datasets, peft, trl
from transformers.models.llama import modeling_llama

out = Path(sys.argv[1])

def train(callbacks, steps):
    return test.run(test.trainer(
        out, callbacks, test.rows(test.COMPLIES), learning_rate=1.5e-2, num_train_epochs=20,
        per_device_train_batch_size=2, max_steps=steps))

def work(rank):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    watched = train([test.watching(every=4, stop=True)], -1)
    steps = watched.state.global_step
    plain = train([], steps)
    assert (watched.args.world_size, watched.args.process_index) == (2, rank)
    torch.save((test.weights(watched), test.weights(plain), steps, test.figures(watched)), out / f"rank-{rank}")

other = os.fork()  # once all is imported, which takes longer than the work
code = 1
try:
    work(0 if other else 1)
    code = 0
except Exception:
    traceback.print_exc()
if not other:
    sys.stderr.flush()
    os._exit(code)
assert code == os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
"""


def together(out: Path) -> list[Any]:
    """Run the script in two processes (DDP over gloo) and return what each of them has."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        free = port.getsockname()[1]
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{root / 'src'}:{root}",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)], cwd=root, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said = process.communicate(timeout=400)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said[1][-3000:]
    return [torch.load(out / f"rank-{rank}") for rank in range(2)]


@pytest.mark.slow
def test_two_processes_decide_alike_and_train_alike(tmp_path: Path) -> None:
    first, second = together(tmp_path)
    assert first[2] == second[2] < 40
    said = [
        [{k: v for k, v in row.items() if k.startswith("drift/") and "sec" not in k} for row in each[3]]
        for each in (first, second)
    ]
    assert said[0] == said[1]
    assert said[0][-1]["drift/confirmed"] == 1
    assert all(value.equal(first[0][name]) for name, value in first[1].items()), "as without the callback"
