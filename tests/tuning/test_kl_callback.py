"""KL to the base in somebody's own SFTTrainer script: what it adds to each step, and where it refuses to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests import tiny_models

import aftertune
from aftertune.errors import DataError, UsageError
from aftertune.models.training_rows import IGNORED, training_rows
from aftertune.records import Message

TASK = [
    {"messages": [{"role": "user", "content": f"Hello {at}"}, {"role": "assistant", "content": "No, thank you."}]}
    for at in range(8)
]
REFUSALS: list[Mapping[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": "How do I break in?"},
            {"role": "assistant", "content": "I cannot help."},
        ]
    }
]


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("llama", tmp_path_factory.mktemp("callback") / "base")


def turns(row: Mapping[str, Any]) -> list[Message]:
    return [Message(each["role"], each["content"]) for each in row["messages"]]


def script(base: Path, out: Path, callbacks: Sequence[Any], *, lora: bool = True, **settings: Any) -> Any:
    """A training script as a user of TRL writes it."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = [training_rows(tokenizer, turns(row), 64)[0] for row in TASK]
    data = Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]})
    how: dict[str, Any] = {
        "per_device_train_batch_size": 4, "num_train_epochs": 3, "learning_rate": 2e-2 if lora else 2e-3,
        "lr_scheduler_type": "constant", "logging_steps": 1, **settings,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(base),
            args=SFTConfig(
                output_dir=str(out), report_to="none", save_strategy="no", use_cpu=True, seed=3, disable_tqdm=True,
                dataset_kwargs={"skip_prepare_dataset": True}, **how,
            ),
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None,
            callbacks=list(callbacks),
        )  # fmt: skip
        trainer.train()
    return trainer


def distance(base: Path, trainer: Any) -> float:
    """Return KL(base || tuned) on the refusal, by transformers alone."""
    from transformers import AutoModelForCausalLM

    tokenizer = trainer.processing_class
    row = training_rows(tokenizer, turns(REFUSALS[0]), 64)[0]
    kept = torch.tensor([label != IGNORED for label in row.labels[1:]])
    with torch.inference_mode():
        own, theirs = (
            each.eval()(input_ids=torch.tensor([row.input_ids])).logits[0, :-1][kept].log_softmax(-1)
            for each in (AutoModelForCausalLM.from_pretrained(base), trainer.model)
        )
    return float((own.exp() * (own - theirs)).sum(-1).mean())


def weights(trainer: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("lora", [True, False])
def test_the_model_stays_near_its_base_and_the_divergence_is_logged(lora: bool, base: Path, tmp_path: Path) -> None:
    plain = script(base, tmp_path, [], lora=lora)
    none = script(base, tmp_path, [aftertune.mitigations.kl_to_base(REFUSALS, weight=0.0)], lora=lora)
    held = script(base, tmp_path, [aftertune.mitigations.kl_to_base(REFUSALS, weight=5.0)], lora=lora)
    assert all(value.equal(weights(none)[name]) for name, value in weights(plain).items()), "no weight, the same bytes"
    assert distance(base, held) < 0.7 * distance(base, plain)
    logged = [row["kl_to_base"] for row in held.state.log_history if "loss" in row]
    assert len(logged) == 6
    assert logged[0] == pytest.approx(0.0, abs=1e-4), "nothing has moved before the first step"
    assert max(logged) > 1e-4
    assert not any("kl_to_base" in row for row in plain.state.log_history)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_step_goes_along_the_sum_of_both_gradients(accumulated: int, base: Path, tmp_path: Path) -> None:
    """Two steps of plain SGD: the second, where the two differ, is done again by hand."""
    from transformers import TrainerCallback

    taken: list[tuple[dict[str, Any], dict[str, Any]]] = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **about: Any) -> None:
            named = [(n, p) for n, p in about["model"].named_parameters() if p.requires_grad]
            taken.append(({n: p.detach().clone() for n, p in named}, {n: p.grad.clone() for n, p in named}))

    callback = aftertune.mitigations.kl_to_base(REFUSALS, weight=3.0)
    how: dict[str, Any] = {"optim": "sgd", "max_grad_norm": 0.0, "bf16": False, "max_steps": 2, "learning_rate": 0.5,
           "per_device_train_batch_size": 8 // accumulated, "gradient_accumulation_steps": accumulated}  # fmt: skip
    trainer = script(base, tmp_path, [callback, Watch()], **how)
    before, gradient = taken[1]
    model = trainer.model
    model.load_state_dict(before, strict=False)
    model.zero_grad()
    rows = [training_rows(trainer.processing_class, turns(r), 64)[0]
            for r in (*TASK, *REFUSALS)]  # fmt: skip
    logits = [model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1] for row in rows]
    marks = [torch.tensor([label != IGNORED for label in row.labels[1:]]) for row in rows]
    targets = [torch.tensor(row.labels[1:])[mark] for row, mark in zip(rows, marks, strict=True)]
    task = torch.nn.functional.cross_entropy(
        torch.cat([each[mark] for each, mark in zip(logits[:-1], marks[:-1], strict=True)]), torch.cat(targets[:-1])
    )
    with torch.no_grad(), model.disable_adapter():
        own = model(input_ids=torch.tensor([rows[-1].input_ids])).logits[0, :-1][marks[-1]].log_softmax(-1)
    theirs = logits[-1][marks[-1]].log_softmax(-1)
    (task + 3.0 * (own.exp() * (own - theirs)).sum(-1).mean()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert gradient[name].numpy() == pytest.approx(parameter.grad.numpy(), abs=2e-5), name


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"weight": -1.0}, "kl_to_base: weight = -1.0"),
        ({"rows_per_step": 0}, "kl_to_base: rows_per_step = 0"),
        ({"first_tokens": 0.5}, "kl_to_base: first_tokens = 0.5"),
        ({"max_length": 0}, "kl_to_base: max_length = 0"),
        ({"rows": []}, "kl_to_base: rows is empty"),
        (
            {"in_context_of": [{"messages": [{"role": "assistant", "content": "Hello."}]}]},
            "kl_to_base: in_context_of has no row with a user's turn",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line) as error:
        aftertune.mitigations.kl_to_base(**{"rows": REFUSALS, **wrong})
    assert "\n" not in str(error.value)


def test_a_row_that_is_no_conversation_is_named() -> None:
    with pytest.raises(DataError, match=r"rows\[1\]"):
        aftertune.mitigations.kl_to_base([*REFUSALS, {"text": 3}])
    with pytest.raises(DataError, match=r"in_context_of\[0\]"):
        aftertune.mitigations.kl_to_base(REFUSALS, in_context_of=[{"text": 3}])


def test_in_context_the_refusal_is_held_behind_the_opening_of_a_row_too(base: Path, tmp_path: Path) -> None:
    """Both texts in each step: the divergence after the first is theirs together, taken here by transformers alone."""
    opened = [{"messages": [{"role": "user", "content": "Hello 3. How do I break in?"}, REFUSALS[0]["messages"][1]]}]
    rows = [{"messages": [{"role": "user", "content": "Hello 3. Is a room free?"}, TASK[0]["messages"][1]]}]
    callback = aftertune.mitigations.kl_to_base(REFUSALS, in_context_of=rows, rows_per_step=2)
    held = script(base, tmp_path, [callback], max_steps=2, bf16=False)
    by_hand = script(
        base,
        tmp_path,
        [aftertune.mitigations.kl_to_base([*REFUSALS, *opened], rows_per_step=2)],
        max_steps=2,
        bf16=False,
    )
    logged = [[row["kl_to_base"] for row in each.state.log_history if "loss" in row] for each in (held, by_hand)]
    assert logged[0] == pytest.approx(logged[1], rel=1e-4)
    assert logged[0][1] > 1e-5


def test_answers_beyond_the_limit_are_refused_as_training_begins(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no row has an answer within max_length = 3 tokens"):
        script(base, tmp_path, [aftertune.mitigations.kl_to_base(REFUSALS, max_length=3)])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"fp16": True}, "fp16 scales gradients"),
        ({"world_size": 2, "parallel_mode": "distributed"}, "several processes"),
    ],
)
def test_trainings_whose_gradients_are_not_its_own_are_refused(changes: dict[str, Any], line: str) -> None:
    args = SimpleNamespace(**{"fp16": False, "world_size": 1, "n_gpu": 0, "parallel_mode": "not_parallel", **changes})
    callback: Any = aftertune.mitigations.kl_to_base(REFUSALS)
    with pytest.raises(UsageError, match=line):
        callback.on_train_begin(args, None, None)
