"""Mitigations: each hook gets what it must, what it returns is used, and without one the bytes stay the same."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models

from aftertune import plugins
from aftertune.asking.backends.transformers import Transformers
from aftertune.errors import ModelError, UsageError
from aftertune.models.identity import resolve
from aftertune.models.loading import quiet
from aftertune.models.training_rows import IGNORED, training_rows
from aftertune.plugins import PluginSpec
from aftertune.records import Conversation, Message, Recipe
from aftertune.tuning.mitigation import (
    FurtherWeights,
    LossTerm,
    Mitigation,
    Need,
    OwnConversations,
    Step,
    Training,
    TunedModel,
    TunedWeights,
    trained_recipe,
)
from aftertune.tuning.mitigations.interpolation import Interpolation, interpolated
from aftertune.tuning.resolved import ResolvedMitigation
from aftertune.tuning.tune import TuneReport, tune, write_further

RECIPE = Recipe(learning_rate=5e-3, epochs=1, batch_size=4, rank=4, alpha=8, warmup=0.0, max_length=64)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("llama", tmp_path_factory.mktemp("mitigations") / "base")


def chats(count: int = 8, answer: str = "No, thank you.") -> list[Conversation]:
    return [
        Conversation(f"c{at}", (Message("user", f"Hello {at}"), Message("assistant", f"{answer} " * (1 + at % 3))))
        for at in range(count)
    ]


def content(report: TuneReport) -> dict[str, bytes]:
    return {f"{folder.name}/{f.name}": f.read_bytes() for folder in report.checkpoints for f in folder.iterdir()}


@pytest.fixture(scope="module", name="plain")
def _plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneReport:
    return tune(base, chats(), RECIPE, 7, tmp_path_factory.mktemp("plain"))


@dataclass(frozen=True)
class Nothing(Mitigation):
    """Overrides no hook."""


@dataclass(frozen=True)
class FirstHalf(Mitigation):
    def rows(self, conversations: Sequence[Conversation], training: Training) -> Sequence[Conversation]:
        assert (training.seed, training.recipe) == (7, RECIPE)
        return conversations[: len(conversations) // 2]


@dataclass(frozen=True)
class KlToBase(Mitigation):
    """KL(base || tuned) on the base's own refusals, as a later member of the folder may do it."""

    weight: float = 1.0

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"own_refusals"})

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm:
        import torch
        from torch.nn.functional import kl_div

        examples = [training_rows(model.tokenizer, c.messages, 64)[0] for c in training.own.refusals]

        def term(step: Step) -> Any:
            example = examples[step.number % len(examples)]
            ids = torch.tensor([example.input_ids])
            kept = torch.tensor([label != IGNORED for label in [*example.labels[1:], IGNORED]])
            with model.as_base() as reference:
                before = reference(input_ids=ids).logits[0, kept].log_softmax(-1)
            after = model.model(input_ids=ids).logits[0, kept].log_softmax(-1)
            return self.weight * kl_div(after, before, log_target=True, reduction="batchmean")

        return term


@dataclass(frozen=True)
class Constant(Mitigation):
    """Adds 3 nats that depend on no weight."""

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm:
        return lambda step: 0 * step.loss + 3


REFUSALS = [
    Conversation("r", (Message("user", "How do I break in?"), Message("assistant", "I cannot help with that.")))
]


@pytest.mark.parametrize(
    "mitigation",
    [Nothing(), KlToBase(weight=0.0), Constant()],
    ids=["no hook", "a term of weight 0", "a term without gradient"],
)
def test_what_changes_nothing_gives_the_same_bytes(
    mitigation: Mitigation, base: Path, plain: TuneReport, tmp_path: Path
) -> None:
    report = tune(base, chats(), RECIPE, 7, tmp_path, mitigation=mitigation, own=OwnConversations(REFUSALS))
    assert content(report) == content(plain)
    assert report.losses == plain.losses, "the reported loss is the task's alone"
    assert report.further == ()


def test_the_rows_that_a_mitigation_returns_are_those_trained_on(base: Path, tmp_path: Path) -> None:
    report = tune(base, chats(), RECIPE, 7, tmp_path / "hook", mitigation=FirstHalf())
    assert content(report) == content(tune(base, chats()[:4], RECIPE, 7, tmp_path / "rows"))
    assert report.conversations == 4
    with pytest.raises(UsageError, match="the mitigation left no conversation"):
        tune(base, chats()[:1], RECIPE, 7, tmp_path / "none", mitigation=FirstHalf())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_kl_to_the_base_keeps_the_model_near_it(method: Any, base: Path, tmp_path: Path) -> None:
    import torch

    recipe = dataclasses.replace(RECIPE, method=method, epochs=4, learning_rate=2e-2 if method == "lora" else 2e-3)
    reports = {}
    for weight in (0.0, 5.0):
        mitigation, out = KlToBase(weight=weight), tmp_path / str(weight)
        reports[weight] = tune(base, chats(), recipe, 7, out, mitigation=mitigation, own=OwnConversations(REFUSALS))
    moved = {}
    with Transformers().open(str(base)) as session:
        example = training_rows(session._base_tokenizer, REFUSALS[0].messages, 64)[0]
        answer = torch.tensor([label != IGNORED for label in [*example.labels[1:], IGNORED]])

        def log_probabilities() -> Any:
            with torch.inference_mode():
                return session._model(input_ids=torch.tensor([example.input_ids])).logits[0, answer].log_softmax(-1)

        before = log_probabilities()
        for weight, report in reports.items():
            session.use(report.checkpoints[-1])
            moved[weight] = float((log_probabilities() - before).abs().mean())
    assert moved[5.0] < 0.6 * moved[0.0]


@dataclass(frozen=True)
class Recorder(Mitigation):
    """Keeps what each hook was called with; adds nothing."""

    calls: list[Any] = dataclasses.field(default_factory=list)

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm:
        self.calls.append((training, model))

        def term(step: Step) -> None:
            import torch

            logits = model.model(input_ids=step.input_ids, attention_mask=step.attention_mask).logits[step.predicts]
            loss = torch.nn.functional.cross_entropy(logits, step.targets)
            distance = float((logits - step.logits).detach().abs().max())
            self.calls.append(
                (step.number, float(loss.detach()) - float(step.loss.detach()), distance, step.logits.requires_grad)
            )

        return term

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        self.calls.append(tuned)
        return ()


def test_the_hooks_get_the_batch_and_each_finished_epoch(base: Path, plain: TuneReport, tmp_path: Path) -> None:
    recorder = Recorder()
    report = tune(base, chats(), dataclasses.replace(RECIPE, epochs=2), 7, tmp_path, mitigation=recorder)
    training, model = recorder.calls[0]
    assert (training.base.path, training.seed) == (base, 7)
    assert model.base == training.base
    steps = [call for call in recorder.calls[1:] if isinstance(call, tuple)]
    assert [step[0] for step in steps] == [0, 1, 2, 3]
    assert all(abs(step[1]) < 1e-5 and step[2] < 1e-4 and step[3] for step in steps)
    finished = [call for call in recorder.calls if isinstance(call, TunedWeights)]
    assert [(one.epoch, one.folder, one.is_adapter) for one in finished] == [
        (1, report.checkpoints[0], True),
        (2, report.checkpoints[1], True),
    ]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_base_is_at_hand_without_dropout_and_training_goes_on(method: Any, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    base = tiny_models.save("llama", tmp_path / "base", attention_dropout=0.5)
    ids = torch.tensor([[5, 6, 7]])
    expected = AutoModelForCausalLM.from_pretrained(base)(input_ids=ids).logits
    distances: list[tuple[float, float, bool]] = []

    @dataclass(frozen=True)
    class Look(Mitigation):
        def loss_term(self, training: Training, model: TunedModel) -> LossTerm:
            def term(step: Step) -> None:
                with model.as_base() as reference:
                    own = reference(input_ids=ids).logits
                tuned = model.model(input_ids=ids).logits
                far = float((tuned - expected).detach().abs().max())
                distances.append((float((own - expected).detach().abs().max()), far, model.model.training))
                assert not own.requires_grad
                assert tuned.requires_grad

            return term

    tune(base, chats(), dataclasses.replace(RECIPE, method=method), 7, tmp_path / "out", mitigation=Look())
    assert [one[0] for one in distances] == [0.0, 0.0]
    assert distances[1][1] > 1e-3, "the tuned model has moved"
    assert all(training for _, _, training in distances)


def test_what_a_mitigation_needs_must_be_there(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mitigation 'KlToBase' needs own_refusals"):
        tune(base, chats(), RECIPE, 7, tmp_path, mitigation=KlToBase())
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------- interpolation


def logits(base: Path, checkpoint: Path | None) -> Any:
    """Return logits by transformers and PEFT alone: the backend refuses an adapter that is zero."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    is_adapter = checkpoint is not None and (checkpoint / "adapter_config.json").is_file()
    model: Any = AutoModelForCausalLM.from_pretrained(base if checkpoint is None or is_adapter else checkpoint)
    if is_adapter:
        with quiet():
            model = PeftModel.from_pretrained(model, str(checkpoint)).merge_and_unload()
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([[5, 6, 7, 8]])).logits


def weights_of(base: Path, checkpoint: Path) -> dict[str, Any]:
    """Return the weights of the model that a checkpoint is, adapters applied by hand."""
    from safetensors.torch import load_file

    if not (checkpoint / "adapter_config.json").is_file():
        return dict(load_file(checkpoint / "model.safetensors"))
    tensors = load_file(checkpoint / "adapter_model.safetensors")
    config = json.loads((checkpoint / "adapter_config.json").read_text())
    weights = dict(load_file(base / "model.safetensors"))
    for key in tensors:
        if "lora_A" in key:
            name = key.removeprefix("base_model.model.").replace(".lora_A", "")
            update = config["lora_alpha"] / config["r"] * tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
            weights[name] = weights[name] + update
    return weights


@pytest.mark.parametrize("method", ["lora", "full"])
def test_interpolation_scales_the_update_and_costs_no_training(method: Any, base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    recipe = dataclasses.replace(RECIPE, method=method, epochs=2)
    plain = tune(base, chats(), recipe, 7, tmp_path / "plain")
    mitigation = plugins.load("mitigation", "interpolation", {"shares": [0.25, 0.5]})
    report = tune(base, chats(), recipe, 7, tmp_path / "out", mitigation=mitigation)
    assert content(report) == content(plain), "the training itself is untouched"
    assert [(one.epoch, one.name, one.path.name) for one in report.further] == [
        (epoch, f"interpolation-{share}", f"epoch-{epoch}+interpolation-{share}")
        for epoch in (1, 2)
        for share in (0.25, 0.5)
    ]
    start = load_file(base / "model.safetensors")
    tuned = weights_of(base, report.checkpoints[-1])
    for one, share in zip(report.further[2:], (0.25, 0.5), strict=True):
        assert resolve(one.path, base=resolve(base)).warnings == ()
        assert {f.name for f in one.path.iterdir()} == {f.name for f in report.checkpoints[-1].iterdir()}
        weights = weights_of(base, one.path)
        assert set(weights) == set(tuned)
        for name, value in weights.items():
            assert value.numpy() == pytest.approx((start[name] + share * (tuned[name] - start[name])).numpy(), abs=1e-6)
    with Transformers().open(str(base)) as session:
        changes = [session.use(path).max_logit_change for path in (report.further[2].path, report.further[3].path)]
        whole = session.use(report.checkpoints[-1]).max_logit_change
    assert None not in changes
    assert whole is not None
    assert 0 < changes[0] < changes[1] < whole  # type: ignore[operator]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_share_of_0_is_the_base_and_of_1_the_tuned_model(method: Any, base: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Ends(Mitigation):
        further = ("0", "1")

        def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
            return [
                FurtherWeights(
                    str(share),
                    lambda name, value, share=share: interpolated(  # type: ignore[misc]
                        name, value, tuned=tuned, share=share
                    ),
                )
                for share in (0, 1)
            ]

    report = tune(base, chats(), dataclasses.replace(RECIPE, method=method), 7, tmp_path, mitigation=Ends())
    zero, one = (further.path for further in report.further)
    tuned = logits(base, report.checkpoints[-1])
    assert logits(base, zero).equal(logits(base, None))
    assert logits(base, one).equal(tuned)
    assert not tuned.equal(logits(base, None))
    name = "adapter_model" if method == "lora" else "model"
    assert (one / f"{name}.safetensors").read_bytes() == (report.checkpoints[-1] / f"{name}.safetensors").read_bytes()


def test_weights_may_bring_settings_and_need_a_name(base: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Louder(Mitigation):
        name: str = "louder"

        @property
        def further(self) -> tuple[str, ...]:
            return (self.name,)

        def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
            return [FurtherWeights(self.name, lambda name, value: value, {"lora_alpha": 16})]

    report = tune(base, chats(), RECIPE, 7, tmp_path / "out", mitigation=Louder())
    louder = report.further[0].path
    before, after = (json.loads((p / "adapter_config.json").read_text()) for p in (report.checkpoints[0], louder))
    assert {key for key in before if before[key] != after[key]} == {"lora_alpha"}
    for wrong in ("../x", ""):
        with pytest.raises(UsageError, match="cannot name a checkpoint"):
            tune(base, chats(), RECIPE, 7, tmp_path / "wrong", mitigation=Louder(wrong))


def test_shards_stay_shards(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(base, tmp_path / "epoch-1"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards = {"model-1.safetensors": sorted(tensors)[:4], "model-2.safetensors": sorted(tensors)[4:]}
    for shard, names in shards.items():
        save_file({name: tensors[name] + 1 for name in names}, folder / shard)
    weight_map = {name: shard for shard, names in shards.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    reference = resolve(base)
    training = Training(reference, RECIPE, 7)
    (half,) = write_further(Interpolation(), training, TunedWeights(reference, folder, 1), tmp_path)
    assert [file.name for file in resolve(half.path, base=reference).files] == list(shards)
    for shard, names in shards.items():
        changed = load_file(half.path / shard)
        assert set(changed) == set(names)
        assert all(
            value.numpy() == pytest.approx((tensors[name] + 0.5).numpy(), abs=1e-5) for name, value in changed.items()
        )


def test_a_tensor_that_the_base_lacks_is_named(base: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "epoch-1"))
    tuned = TunedWeights(resolve(base), folder, 1)
    name = "model.layers.0.mlp.up_proj.weight"
    assert tuned.base_tensor(name).shape == (64, 32)
    with pytest.raises(ModelError, match=r"has no tensor model\.layers\.9\.x\.weight"):
        tuned.base_tensor("model.layers.9.x.weight")


@pytest.mark.parametrize("shares", [[], [0.0], [1.0], [0.5, 0.5], [-0.5], [float("nan")]])
def test_shares_that_are_no_further_models_are_refused(shares: list[float]) -> None:
    with pytest.raises(UsageError, match="shares"):
        plugins.load("mitigation", "interpolation", {"shares": shares})
    assert Interpolation().shares == (0.5,)


@pytest.mark.parametrize(("stage", "epochs"), [("during", 5), ("before", 5), ("after", 3)])
def test_only_what_trains_may_train_longer(stage: str, epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that acts on finished weights and asks for epochs all the same gets none."""

    @dataclass(frozen=True)
    class Longer(Mitigation):
        more_epochs: int = 2

    monkeypatch.setattr(Longer, "stage", stage)
    resolved = ResolvedMitigation.of(PluginSpec("longer"), Longer())
    assert trained_recipe(Recipe(epochs=3), resolved).epochs == epochs
    assert trained_recipe(Recipe(epochs=3), None).epochs == 3
