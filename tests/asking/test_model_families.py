"""Families of models: which prompts are asked together is found by the logits, and no answer depends on the others."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from perf import families, tiny_families
from tests import tiny_models

from aftertune.asking.backends._batching import batching
from aftertune.asking.backends._decoding import Row, _select, decode, takes_padding
from aftertune.asking.backends.transformers import Transformers
from aftertune.errors import ModelError
from aftertune.models.session import Beginnings
from aftertune.records import Conversation, Message, Prompt
from aftertune.reporting.gather import batching_warnings

TEXTS = [[5, 9, 3, 7, 11, 2, 8, 30, 31, 17], [40, 12, 9, 9, 6], [21, 22, 23, 4, 19, 33, 35, 2]]
LONG = "I would like to change my booking to the second of May, please. Where would you like to go?"


def made(family: str, folder: Path) -> Path:
    return tiny_families.save(family, folder / family, tiny_models.tokenizer("qwen"))


def loaded(family: str, **settings: Any) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    torch.manual_seed(0)
    tokens = {"vocab_size": 64, "pad_token_id": 0, "eos_token_id": 1}
    config = tiny_families.configuration(family, tokens)
    config = CONFIG_MAPPING[family](**{**config.to_dict(), **settings}) if settings else config
    kind: Any = AutoModelForCausalLM
    return kind.from_config(config).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("family", "outcome"),
    [
        ("mistral", "same"),  # a sliding window
        ("qwen3_moe", "same"),  # experts
        ("deepseek_v3", "same"),  # latent attention
        ("bamba", "same"),  # a state space beside attention
        ("qwen3_next", "same"),  # linear attention
        ("mamba2", "same"),  # a state alone, under another name
        ("minimax", "same, one length at a time"),  # a cache of its own kind
        ("recurrent_gemma", "same, one length at a time"),  # a state that padding enters, in the layers
        ("deepseek_v4", "same, one length at a time"),  # sums over windows of columns
    ],
)
def test_a_family_says_the_same_alone_in_a_batch_and_in_generate(family: str, outcome: str, tmp_path: Path) -> None:
    base = made(family, tmp_path)
    expected = families.Reference(families.Trial(family, "text"), base).texts(None)
    assert len(set(expected)) > 3, "answers that are alike prove nothing"
    assert families.compared(base, None, "auto", expected) == outcome


def test_the_proof_says_how_prompts_were_asked_and_the_report_warns(tmp_path: Path) -> None:
    base = made("recurrent_gemma", tmp_path)
    with Transformers(batch_size=7).open(str(base)) as session:
        proof = session.use(None)
    assert (proof.batching, proof.batch_size) == ("equal lengths", 7)
    assert proof.how == "base, float32 on cpu, prompts of one length at a time, 7 in flight"
    info = {"proof": {"batching": "equal lengths"}}
    jobs = [SimpleNamespace(subject=SimpleNamespace(base=SimpleNamespace(name=name))) for name in ("G", "G", "L")]

    def run_with(*infos: dict[str, Any]) -> Any:
        by_job = dict(zip(map(id, jobs), infos, strict=True))
        return SimpleNamespace(job=lambda job: SimpleNamespace(info=lambda: by_job[id(job)]))

    study: Any = SimpleNamespace(of=lambda kind: jobs)
    found = batching_warnings(run_with(info, info, {"proof": {"batching": "any"}}), study)
    assert len(found) == 1
    assert found[0].startswith("G: ")
    assert "prompts of one length in tokens at a time" in found[0]
    assert not batching_warnings(run_with({}, {"proof": None}, {"proof": {"batching": ""}}), study)


def test_scores_and_beginnings_do_not_depend_on_the_batch_either(tmp_path: Path) -> None:
    base = made("recurrent_gemma", tmp_path)
    texts = ("No", "Help me", LONG, "Good morning", LONG[:40])
    rows = [
        Conversation(f"r{at}", (Message("user", text), Message("assistant", text[::-1])))
        for at, text in enumerate(texts)
    ]
    items = [
        Beginnings(Prompt(f"p{at}", "b", "s", "c", "k", (Message("user", text),)), ("Yes", "No, never"))
        for at, text in enumerate(texts)
    ]
    with Transformers(batch_size=8).open(str(base)) as session:

        def all_of(many: int) -> tuple[list[float], list[float]]:
            scores: list[float] = []
            begun: list[float] = []
            for at in range(0, len(texts), many):
                for score in session.score(rows[at : at + many], template="base", max_length=256):
                    scores.append(score.total or math.nan)
                for one in session.beginnings(items[at : at + many], system=None, template="base"):
                    begun += one.log_probabilities or (math.nan,)
            return scores, begun

        alone, together = all_of(1), all_of(len(texts))
        assert together[0] == pytest.approx(alone[0], rel=1e-5)
        assert together[1] == pytest.approx(alone[1], rel=1e-5)
        session._batching = "any"
        assert all_of(len(texts))[1] != pytest.approx(alone[1], rel=1e-3), "this model would show it"


def test_rows_of_one_length_stay_together_until_the_last_has_ended() -> None:
    model = loaded("recurrent_gemma")
    rows = [Row([3 + at, 7, *range(2, 2 + at % 3)], 2 + at, 0.8 if at % 2 else 0.0, at) for at in range(9)]
    sizes: list[int] = []
    alone = [next(iter(decode(model, [row], 0, frozenset(), batching="alone"))).tokens for row in rows]
    handle = model.register_forward_hook(lambda module, args, out: sizes.append(out.logits.shape[0]))
    found = {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), 2, batching="equal lengths")}
    handle.remove()
    assert [found[at] for at in range(len(rows))] == alone
    assert max(sizes) == 2
    assert {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), batching="any")} != found


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("none", "any"),
        ("padding", "equal lengths"),
        ("neighbours", "alone"),
        ("batches fail", "alone"),
    ],
)
def test_each_way_of_asking_is_tried_by_its_logits(fault: str, expected: str) -> None:
    model = loaded("llama")

    def spoiled(_: Any, __: Any, named: dict[str, Any], out: Any) -> Any:
        mask = named.get("attention_mask")
        if fault == "padding" and mask is not None:
            out.logits = out.logits + 0.5 * (mask == 0).sum(1)[:, None, None]
        if fault == "neighbours":
            out.logits = out.logits + 0.1 * (out.logits.mean(0, keepdim=True) - out.logits)
        if fault == "batches fail" and len(out.logits) > 1:
            raise NotImplementedError("one row at a time\nin detail")
        return out

    model.register_forward_hook(spoiled, with_kwargs=True)
    assert batching(model, "m", TEXTS, 0, 1e-4) == expected


def test_in_a_low_precision_a_batch_need_not_be_nearer_than_a_prompt_alone_is() -> None:
    model = loaded("llama")

    def noisy(_: Any, __: Any, named: dict[str, Any], out: Any) -> Any:
        if named.get("attention_mask") is not None:
            out.logits = out.logits + 3e-4 * out.logits.abs().max()
        return out

    model.register_forward_hook(noisy, with_kwargs=True)
    assert batching(model, "m", TEXTS, 0, 1e-4) == "any"


def test_a_model_that_forgets_what_it_read_is_refused() -> None:
    model = loaded("llama")

    def forgetful(_: Any, args: Any, named: dict[str, Any]) -> Any:
        from transformers import DynamicCache

        if named["input_ids"].shape[1] == 1:
            named |= {"past_key_values": DynamicCache(), "attention_mask": None}
        return args, named

    model.register_forward_pre_hook(forgetful, with_kwargs=True)
    with pytest.raises(
        ModelError, match=r"m: LlamaForCausalLM cannot be asked here: token by token .* endpoint"
    ) as why:
        batching(model, "m", TEXTS, 0, 1e-4)
    assert "\n" not in str(why.value)


def test_a_model_that_answers_nothing_is_refused_at_the_start_and_not_once_a_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaModel

    base = tiny_models.save("llama", tmp_path / "base")

    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("this model wants a cache of its own kind\nin detail")

    with monkeypatch.context() as patch:
        patch.setattr(LlamaModel, "forward", fails)
        with pytest.raises(ModelError, match="cannot be asked here: ValueError: this model wants a cache") as why:
            Transformers().open(str(base)).__enter__()
    assert "\n" not in str(why.value)


def test_a_base_whose_logits_are_not_numbers_is_refused_at_the_start() -> None:
    model = loaded("llama")
    model.model.norm.weight.fill_(math.nan)
    with pytest.raises(ModelError, match="m: the model's logits are not numbers"):
        batching(model, "m", TEXTS, 0, 1e-4)


@pytest.mark.parametrize("architecture", ["RwkvForCausalLM", "XLNetLMHeadModel"])
def test_a_class_that_keeps_what_it_read_elsewhere_is_refused_before_its_weights_load(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers
    from transformers import PreTrainedModel

    base = tiny_models.save("llama", tmp_path / "base")
    config = getattr(transformers, architecture).config_class(vocab_size=96)
    config.architectures = [architecture]
    config.save_pretrained(base)
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", lambda *_, **__: pytest.fail("its weights were loaded"))
    with pytest.raises(ModelError, match=f"{architecture} cannot be asked here.*backend endpoint"):
        Transformers().open(str(base)).__enter__()


def test_every_layer_that_a_cache_may_have_gives_up_rows_or_is_never_asked_to() -> None:
    from transformers import cache_utils
    from transformers.models.deepseek_v4 import modeling_deepseek_v4  # noqa: F401 - it adds layers to the list
    from transformers.models.minimax_m3_vl import modeling_minimax_m3_vl  # noqa: F401

    keys, states = torch.randn(3, 2, 4, 5), torch.randn(3, 6, 4)
    chosen = torch.tensor([2, 0])
    tried = 0
    for name, kind in cache_utils.DYNAMIC_LAYER_TYPE_MAPPING.items():
        if kind.__module__ != "transformers.cache_utils":
            continue
        layer = kind(sliding_window=16) if "sliding" in name or "chunked" in name else kind()
        if hasattr(layer, "update") and name != "dummy":
            layer.update(keys, keys + 1)
        if hasattr(layer, "update_indexer"):
            layer.update_indexer(keys[:, 0])
        if hasattr(layer, "update_conv_state"):
            layer.update_conv_state(states)
            layer.update_recurrent_state(states + 2)
        _select(SimpleNamespace(layers=[layer]), chosen)
        for value, whole in (
            (getattr(layer, "keys", None), keys),
            (getattr(layer, "values", None), keys + 1),
            (getattr(layer, "indexer_keys", None), keys[:, 0]),
            (getattr(layer, "conv_states", {}).get(0), states),
            (getattr(layer, "recurrent_states", {}).get(0), states + 2),
        ):
            if value is not None:
                assert value.equal(whole[chosen]), name
                tried += 1
    assert tried > 15
    assert not takes_padding(loaded("deepseek_v4"))
    assert takes_padding(loaded("mistral"))


def test_local_attention_that_the_cache_does_not_know_of_counts_no_padding() -> None:
    """GPT-Neo: columns between a beginning that prompts share and a shorter end used up its window."""
    model = loaded("gpt_neo")
    head = list(range(10, 34))
    rows = [Row([*head, *range(2, 2 + extra)], 5, 0.0, at) for at, extra in enumerate((1, 12, 4, 20))]
    alone = [next(iter(decode(model, [row], 0, frozenset()))).tokens for row in rows]
    for slots in (0, 2):
        found = {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), slots)}
        assert [found[at] for at in range(len(rows))] == alone


def test_a_window_does_not_hide_angles_that_depend_on_the_longest_row() -> None:
    """LongRoPE beside a sliding window, as in Phi-3.5: one long row changed the answers of all others."""
    half = 8
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * half,
        "long_factor": [4.0] * half,
        "original_max_position_embeddings": 20,
        "factor": 2.0,
    }
    model = loaded("mistral", rope_parameters=rope, max_position_embeddings=40, sliding_window=30)
    rows = [Row([3 + at, 5, 7] * length, 40 - 3 * length, 0.0, at) for at, length in enumerate((11, 7, 5, 3))]
    rows += [Row([9] * 3, 4, 0.0, 1), Row([8] * 5, 6, 0.0, 2)]
    alone = [next(iter(decode(model, [row], 0, frozenset()))).tokens for row in rows]
    found = {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), 4)}
    assert [found[at] for at in range(len(rows))] == alone
