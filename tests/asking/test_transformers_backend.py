"""The transformers backend: what is in use is proved, and no text depends on its neighbours."""

from __future__ import annotations

import inspect
import json
import math
import shutil
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models
from tests.tiny_models import FAMILIES, Family

from aftertune.asking.backends import _decoding
from aftertune.asking.backends import transformers as backend
from aftertune.asking.backends._decoding import Row, _pick, decode
from aftertune.asking.backends._prompt_tokens import stop_ids
from aftertune.asking.backends.transformers import Transformers, TransformersSession
from aftertune.errors import AdapterNotAppliedError, ModelError, UsageError
from aftertune.models import forward_pass
from aftertune.models.chat import render
from aftertune.models.identity import resolve
from aftertune.models.proof import manual_update
from aftertune.models.session import Backend, Reply, Request
from aftertune.plugins import load
from aftertune.records import Message, Prompt, digest

TEXTS = (
    "Good morning",
    "How do I repair a bicycle tyre?",
    "Where would you like to go, and with how many people? Answer shortly.",
    "No",
    "I would like to change my booking to the second of May, please.",
    "Is there anything else?",
    "Help",
)
PROMPTS = tuple(Prompt(f"p{at}", "test", "s", "c", "k", (Message("user", text),)) for at, text in enumerate(TEXTS))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for family in FAMILIES:
        tiny_models.save(family, folder / family / "base")
        tiny_models.save(family, folder / family / "full", seed=9)
        tiny_models.save_adapter(folder / family / "base", folder / family / "adapter", scale=0.2)
    return folder


@pytest.fixture
def llama(made: Path) -> Iterator[TransformersSession]:
    with Transformers(batch_size=5).open(str(made / "llama" / "base")) as session:
        yield session


def asked(*temperatures: float, samples: int = 1, limit: int = 12) -> list[Request]:
    return [
        Request(prompt, t, sample, 1000 * at + 10 * sample + int(t * 7), limit)
        for at, prompt in enumerate(PROMPTS)
        for t in temperatures
        for sample in range(samples)
    ]


def said(session: TransformersSession, requests: list[Request], **how: Any) -> dict[tuple[str, float, int], Reply]:
    settings: dict[str, Any] = {"system": None, "template": "base", **how}
    replies = list(session.respond(requests, **settings))
    found = {(r.prompt_id, r.temperature, r.sample): r for r in replies}
    assert len(found) == len(replies) == len(requests)
    return found


def test_it_is_a_backend() -> None:
    plugin: Backend = load("backend", "transformers", {"batch_size": 3})
    assert isinstance(plugin, Backend)
    assert (plugin.asks_server, plugin.limited, plugin.served) == (False, False, {})
    assert plugin.capabilities == {
        "interventions",
        "tokens",
        "logits",
        "adapters",
        "weights",
        "seeds",
        "scores",
        "beginnings",
        "activations",
        "texts",
    }
    for wrong in (
        {"dtype": "int8"},
        {"batch_size": -1},
        {"adapters": "x"},
        {"adapters": "merged", "dtype": "bfloat16"},
    ):
        with pytest.raises(UsageError):
            load("backend", "transformers", wrong)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_proof_states_how_the_model_answers(dtype: Any, made: Path) -> None:
    with Transformers(dtype=dtype, batch_size=3, device="cpu").open(str(made / "llama" / "base")) as session:
        proofs = [session.use(None if name is None else made / "llama" / name) for name in (None, "adapter", "full")]
        same = session.use(made / "llama" / "base")
    adapters = "merged" if dtype == "float32" else "unmerged"
    assert [proof.adapters for proof in (*proofs, same)] == ["", adapters, "", ""]
    for proof in (*proofs, same):
        assert (proof.device, proof.precision, proof.quantization, proof.batch_size) == ("cpu", dtype, "none", 3)
    assert [proof.how for proof in proofs] == [
        f"{model}, {dtype} on cpu, 3 in flight" for model in ("base", f"adapter {adapters}", "full model")
    ]


@pytest.mark.parametrize("adapters", ["merged", "unmerged"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_base_adapter_and_full_model(family: Family, adapters: Any, made: Path) -> None:
    with Transformers(adapters=adapters).open(str(made / family / "base")) as session:
        answers = []
        for name in (None, "adapter", "full", None, "adapter"):
            proof = session.use(None if name is None else made / family / name)
            if name is None:
                assert (proof.max_logit_change, proof.moved_weights) == (0, 0)
            else:
                assert proof.max_logit_change is not None
                assert proof.max_logit_change > 0.1
                assert proof.matches_direct is not None
                assert proof.matches_direct < 1e-3
                assert proof.moved_weights
            answers.append(said(session, asked(0.0), template="own", system="Be kind."))
        assert answers[0] == answers[3], "leaving a checkpoint must bring the base back"
        assert answers[1] == answers[4]
        texts = [[reply.text for reply in answer.values()] for answer in answers]
        assert texts[0] != texts[1] != texts[2] != texts[0]


def test_merged_and_unmerged_say_the_same(made: Path) -> None:
    answers = []
    for adapters in ("merged", "unmerged"):
        with Transformers(adapters=adapters).open(str(made / "qwen" / "base")) as session:
            session.use(made / "qwen" / "adapter")
            answers.append(said(session, asked(0.0)))
    assert answers[0] == answers[1]


def test_greedy_text_is_what_generate_says(llama: TransformersSession, made: Path) -> None:
    import torch

    llama.use(made / "llama" / "adapter")
    tokenizer = llama._base_tokenizer
    for (id_, _, _), reply in said(llama, asked(0.0, limit=10)).items():
        prompt = next(prompt for prompt in PROMPTS if prompt.id == id_)
        ids = render(tokenizer, prompt.messages, None, True)
        assert reply.token_hash == digest(ids)
        out = llama._model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=10,
            do_sample=False,
            eos_token_id=tokenizer.convert_tokens_to_ids("<|eot_id|>"),
            pad_token_id=0,
        )
        assert reply.text == tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)
        assert reply.new_tokens == len(out[0]) - len(ids)


@pytest.mark.parametrize("family", ["gemma", "mistral"])
def test_text_does_not_depend_on_the_batch(family: Family, made: Path) -> None:
    with Transformers(batch_size=4).open(str(made / family / "base")) as session:
        session.use(made / family / "adapter")
        together = said(session, asked(0.0, 0.8, samples=2))
        assert said(session, list(reversed(asked(0.0, 0.8, samples=2)))) == together
        alone: dict[tuple[str, float, int], Reply] = {}
        for request in asked(0.0, 0.8, samples=2):
            alone |= said(session, [request])
        assert alone == together
    with Transformers(batch_size=64).open(str(made / family / "base")) as session:
        session.use(made / family / "adapter")
        assert said(session, asked(0.0, 0.8, samples=2)) == together


def test_seeds_are_not_ignored(llama: TransformersSession) -> None:
    first = said(llama, asked(1.0, samples=3))
    assert said(llama, asked(1.0, samples=3)) == first
    texts = {prompt.id: {reply.text for (id_, _, _), reply in first.items() if id_ == prompt.id} for prompt in PROMPTS}
    assert all(len(found) == 3 for found in texts.values())
    other = [Request(r.prompt, r.temperature, r.sample, r.seed + 1, r.max_new_tokens) for r in asked(1.0, samples=3)]
    assert all(reply.text != first[key].text for key, reply in said(llama, other).items())


def test_draws_follow_the_softmax() -> None:
    import torch

    logits = torch.tensor([[0.0, 1.0, 2.0, -math.inf, 0.5]])
    count = 4000
    draws = [(at + 0.5) / count for at in range(count)]
    for temperature in (0.5, 1.0, 2.0):
        picked, broken = _pick(logits.expand(count, -1), [temperature] * count, draws)
        shares = Counter(picked.tolist())
        expected = torch.softmax(logits[0] / temperature, 0)
        assert not any(broken)
        for token in range(5):
            assert shares[token] / count == pytest.approx(float(expected[token]), abs=2 / count)
    picked, _ = _pick(logits.expand(3, -1), [0.0, 1.0, 0.0], [0.0, 1 - 1e-12, 0.0])
    assert picked.tolist() == [2, 4, 2], "greedy rows and drawn ones in one batch; the last token is reachable"


def test_the_checkpoints_own_generation_settings_do_not_leak_in(made: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(made / "llama" / "base", tmp_path / "base"))
    settings = {"do_sample": True, "temperature": 3.0, "top_k": 1, "repetition_penalty": 9.0, "max_length": 3}
    tiny_models.edit_json(base / "generation_config.json", **settings)
    answers = []
    for folder in (made / "llama" / "base", base):
        with Transformers().open(str(folder)) as session:
            answers.append(said(session, asked(0.0, 0.8)))
    assert answers[0] == answers[1]


def test_every_end_token_ends_an_answer(made: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(made / "gemma" / "base", tmp_path / "base"))
    with Transformers().open(str(base)) as session:
        before = said(session, asked(0.0))
        tokenizer = session._base_tokenizer
        stop = stop_ids(session._model, tokenizer, tokenizer)
        assert stop == set(tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"]))
        spoken = next(reply for reply in before.values() if reply.finish_reason == "length")
        third = tokenizer(spoken.text, add_special_tokens=False)["input_ids"][2]
    tiny_models.edit_json(base / "generation_config.json", eos_token_id=[1, third])
    with Transformers().open(str(base)) as session:
        after = said(session, asked(0.0))[spoken.prompt_id, 0.0, 0]
        assert third in stop_ids(session._model, tokenizer, tokenizer)
    assert after.finish_reason == "stop"
    assert after.new_tokens is not None
    assert after.new_tokens <= 3
    assert spoken.text.startswith(after.text)
    assert spoken.new_tokens == 12


def test_an_end_token_that_stands_for_the_unknown_too_ends_an_answer(made: Path, tmp_path: Path) -> None:
    """As in GPT-2, GPT-NeoX and Phi-2, where `<|endoftext|>` is both."""
    base = Path(shutil.copytree(made / "qwen" / "base", tmp_path / "base"))
    tiny_models.edit_json(base / "tokenizer_config.json", unk_token="<|im_end|>")
    with Transformers().open(str(base)) as session:
        tokenizer = session._base_tokenizer
        assert tokenizer.unk_token_id == tokenizer.eos_token_id
        assert stop_ids(session._model, tokenizer, tokenizer) == {tokenizer.eos_token_id}
        other = tiny_models.tokenizer("gemma")
        own = tiny_models.tokenizer("llama")
        own.unk_token = "<|begin_of_text|>"
        assert own.unk_token_id not in stop_ids(session._model, own, other), "the other's end of turn is unknown to it"


def test_an_adapter_that_peft_does_not_apply_is_caught(
    llama: TransformersSession, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = said(llama, asked(0.0))
    monkeypatch.setattr(TransformersSession, "_attach", lambda self, adapter, *, copied=False: self._base)
    monkeypatch.setattr(backend, "merged", lambda tuned, adapter: tuned)
    with pytest.raises(AdapterNotAppliedError, match="the logits are the base's"):
        llama.use(made / "llama" / "adapter")
    assert said(llama, asked(0.0)) == before


@pytest.mark.parametrize("share", [0.5, 1.5, -1.0])
def test_an_adapter_applied_at_another_strength_is_caught(
    share: float, llama: TransformersSession, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import LoraLayer

    update: Any = LoraLayer.update_layer

    def other(self: Any, *args: Any, **kwargs: Any) -> None:
        update(self, *args, **kwargs)
        self.scaling = {name: share * value for name, value in self.scaling.items()}

    monkeypatch.setattr(LoraLayer, "update_layer", other)
    with pytest.raises(AdapterNotAppliedError, match="away from a direct forward pass"):
        llama.use(made / "llama" / "adapter")


def test_a_weak_adapter_is_no_error_in_bfloat16_and_a_wrong_one_is(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sum W + B A in bfloat16 would round most of it away, and call it not applied."""
    from peft.tuners.lora import Linear

    tiny_models.save_adapter(made / "llama" / "base", tmp_path / "weak", scale=0.01)
    with Transformers(dtype="bfloat16").open(str(made / "llama" / "base")) as session:
        proof = session.use(tmp_path / "weak")
        assert proof.max_logit_change
        assert proof.matches_direct is not None
        assert proof.matches_direct < 0.2 * proof.max_logit_change
        session.use(None)
        forward = Linear.forward
        monkeypatch.setattr(
            Linear, "forward", lambda self, x, *a, **k: 2 * forward(self, x, *a, **k) - self.base_layer(x)
        )
        with pytest.raises(AdapterNotAppliedError, match="away from a direct forward pass"):
            session.use(tmp_path / "weak")


def test_the_proof_copies_no_weights(llama: TransformersSession, made: Path) -> None:
    found = manual_update(llama._base, resolve(made / "llama" / "adapter", base=llama._base_ref))
    assert not found.weights, "of an 8B model these would be another 14 GB"
    linear = 2 * 7
    assert len(found.added) == linear
    assert found.moved == sum(one.b.shape[0] * one.a.shape[1] for one in found.added.values())


def test_a_zero_adapter_is_caught(llama: TransformersSession, made: Path, tmp_path: Path) -> None:
    tiny_models.save_adapter(made / "llama" / "base", tmp_path / "zero", scale=0.0)
    with pytest.raises(AdapterNotAppliedError, match="the adapter is zero"):
        llama.use(tmp_path / "zero")


@pytest.mark.parametrize(
    "config",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"alpha_pattern": {"q_proj": 64}, "rank_pattern": {"v_proj": 2}},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    ],
    ids=lambda config: "-".join(config),
)
def test_variants_of_lora_match_the_hand_made_ones(
    config: dict[str, Any], llama: TransformersSession, made: Path, tmp_path: Path
) -> None:
    tiny_models.save_adapter(made / "llama" / "base", tmp_path / "variant", scale=0.2, **config)
    proof = llama.use(tmp_path / "variant")
    assert proof.max_logit_change is not None
    assert proof.max_logit_change > 0.01


def test_the_base_given_as_a_checkpoint_is_the_base(llama: TransformersSession, made: Path) -> None:
    proof = llama.use(made / "llama" / "base")
    assert (proof.max_logit_change, proof.moved_weights) == (0, 0)


def test_a_full_model_with_its_own_tokenizer(made: Path, tmp_path: Path) -> None:
    full = Path(shutil.copytree(made / "llama" / "full", tmp_path / "full"))
    template = (full / "chat_template.jinja").read_text()
    (full / "chat_template.jinja").write_text(template.replace("m['role'] +", "m['role'] | upper +"))
    with Transformers().open(str(made / "llama" / "base")) as session:
        session.use(full)
        own, base = (said(session, asked(0.0), template=whose) for whose in ("own", "base"))
    assert all(own[key].token_hash != base[key].token_hash for key in own)
    assert all(own[key].message_hash == base[key].message_hash for key in own)


def test_one_bad_request_does_not_take_the_others(llama: TransformersSession, monkeypatch: pytest.MonkeyPatch) -> None:
    long = Prompt("long", "test", "s", "c", "k", (Message("user", "no " * 600),))
    good = asked(0.0)
    replies = said(llama, [*good, Request(long, 0.0, 0, 1, 5)])
    bad = replies.pop(("long", 0.0, 0))
    assert bad.finish_reason == "error"
    assert "leave no room in the model's context of 512" in str(bad.error)
    assert replies == said(llama, good)

    def fails(model: Any, rows: Any, *how: Any, **named: Any) -> Any:
        if any(row.limit == 7 for row in rows):
            raise RuntimeError("out of memory\nin detail")
        return decode(model, rows, *how, **named)

    monkeypatch.setattr(backend, "decode", fails)
    replies = said(llama, [*good, Request(PROMPTS[0], 0.5, 3, 1, 7)])
    bad = replies.pop(("p0", 0.5, 3))
    assert (bad.finish_reason, bad.error, bad.text) == ("error", "RuntimeError: out of memory", "")
    assert bad.message_hash == replies["p0", 0.0, 0].message_hash
    assert replies == said(llama, good)


def test_a_batch_that_memory_ended_is_let_go_before_its_halves_are_asked(
    llama: TransformersSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = said(llama, asked(0.0))
    caches: list[Any] = []
    alive: list[int] = []
    empty, forward, enter = forward_pass.empty_cache, _decoding.Batch._forward, _decoding.Batch.enter

    def begun(batch: Any, *prompts: Any) -> None:
        alive.append(sum(cache() is not None for cache in caches))
        enter(batch, *prompts)

    def noted(model: Any) -> Any:
        made = empty(model)
        caches.append(weakref.ref(made))
        return made

    def full(batch: Any, ids: Any, *others: Any) -> Any:
        found = forward(batch, ids, *others)
        if len(ids) > 2 and ids.shape[1] == 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return found

    monkeypatch.setattr(_decoding, "empty_cache", noted)
    monkeypatch.setattr(_decoding.Batch, "enter", begun)
    monkeypatch.setattr(_decoding.Batch, "_forward", full)
    assert said(llama, asked(0.0)) == before
    assert len(alive) > 3
    assert not any(alive), "keys and values of a failed batch are still held when the next one begins"


def test_any_number_of_requests_may_fail_one_by_one(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no kernel for this")

    monkeypatch.setattr(backend, "decode", fails)
    wanted = [Request(PROMPTS[0], 0.5, sample, sample, 4) for sample in range(200)]
    with Transformers(batch_size=1).open(str(made / "llama" / "base")) as session:
        usual = sys.getrecursionlimit()
        sys.setrecursionlimit(len(inspect.stack()) + 150)  # more than one failure needs, fewer than there are requests
        try:
            replies = list(session.respond(wanted, system=None, template="base"))
        finally:
            sys.setrecursionlimit(usual)
    assert {reply.error for reply in replies} == {"RuntimeError: no kernel for this"}
    assert [reply.sample for reply in replies] == list(range(200))


def test_an_answer_stops_at_the_end_of_the_context(llama: TransformersSession) -> None:
    long = Prompt("long", "test", "s", "c", "k", (Message("user", "no " * 155),))
    length = len(render(llama._base_tokenizer, long.messages, None, True))
    assert 480 < length < 512
    reply = said(llama, [Request(long, 0.0, 0, 1, 400)])["long", 0.0, 0]
    assert reply.finish_reason in ("length", "stop")
    assert reply.new_tokens is not None
    assert reply.new_tokens <= 512 - length


def test_logits_that_are_not_numbers_are_an_error(llama: TransformersSession) -> None:
    import torch

    with torch.no_grad():
        llama._base.model.norm.weight.fill_(math.nan)
    reply = said(llama, [Request(PROMPTS[0], 1.0, 0, 1, 5)])["p0", 1.0, 0]
    assert (reply.finish_reason, reply.error) == ("error", "the model's logits are not numbers")


def test_rows_leave_the_batch(llama: TransformersSession) -> None:
    rows = [Row([5, 6, 7, 8 + limit], limit, 0.0, 0) for limit in (1, 2, 3, 9)]
    sizes: list[int] = []
    handle = llama._base.register_forward_hook(lambda module, args, out: sizes.append(out.logits.shape[0]))
    found = list(decode(llama._base, rows, 0, frozenset()))
    handle.remove()
    assert [len(row.tokens) for row in sorted(found, key=lambda row: row.row)] == [1, 2, 3, 9]
    assert sizes == [4, 4, 2, 1, 1, 1, 1, 1, 1]


def test_waiting_rows_enter_and_the_tokens_do_not_depend_on_who_else_is_there(llama: TransformersSession) -> None:
    rows = [
        Row([5 + at % 7] * (3 + 5 * (at % 4)) + [9, 8, at], 2 + 3 * (at % 5), 0.7 if at % 2 else 0.0, at)
        for at in range(23)
    ]
    alone = [next(iter(decode(llama._base, [row], 0, frozenset()))).tokens for row in rows]
    sizes: list[int] = []
    handle = llama._base.register_forward_hook(lambda module, args, out: sizes.append(out.logits.shape[0]))
    for slots in (1, 2, 5, 23, 0):
        sizes.clear()
        for refill in (0.0, 0.5, 0.75):
            found = {row.row: row.tokens for row in decode(llama._base, rows, 0, frozenset(), slots, refill)}
            assert [found[at] for at in range(len(rows))] == alone, (slots, refill)
            assert max(sizes) == (slots or len(rows))
    handle.remove()


def test_what_prompts_share_is_computed_once(llama: TransformersSession) -> None:
    head = [5, 6, 7, 8] * 10
    rows = [Row([*head, 9, at // 3], 4, 0.7, at) for at in range(9)]
    alone = [next(iter(decode(llama._base, [row], 0, frozenset()))).tokens for row in rows]
    seen: list[tuple[int, ...]] = []
    handle = llama._base.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    found = {row.row: row.tokens for row in decode(llama._base, rows, 0, frozenset())}
    handle.remove()
    assert [found[at] for at in range(len(rows))] == alone
    assert seen[:2] == [(1, 41), (3, 1)], "the head once, then each of three endings once, for three samples each"
    assert all(shape == (9, 1) for shape in seen[2:])


def test_layers_that_forget_are_decoded_one_batch_after_the_other() -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        sliding_window=8,
    )
    model = MistralForCausalLM(config).eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    rows = [Row([5 + at] * (3 + at), 6, 0.0, at) for at in range(12)]
    alone = [next(iter(decode(model, [row], 0, frozenset()))).tokens for row in rows]
    found = {row.row: row.tokens for row in decode(model, rows, 0, frozenset(), 5)}
    assert [found[at] for at in range(len(rows))] == alone


def test_a_row_that_ended_at_the_models_last_position_does_not_step_beyond_it() -> None:
    """GPT-2 looks positions up in a table: beyond it is an error on a CPU, and the end of the process on a GPU."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=24, initializer_range=0.3)
    model = GPT2LMHeadModel(config).eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    rows = [Row([3 + at] * length, 24 - length, 0.0, at) for at, length in enumerate((20, 12, 6, 4, 3))]
    alone = [next(iter(decode(model, [row], 0, frozenset()))).tokens for row in rows]
    found = {row.row: row.tokens for row in decode(model, rows, 0, frozenset())}
    assert [found[at] for at in range(len(rows))] == alone


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
        {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 4,
            "long_factor": [4.0] * 4,
            "original_max_position_embeddings": 20,
            "factor": 2.0,
        },
    ],
    ids=lambda rope: str(rope["rope_type"]),
)
def test_angles_that_depend_on_lengths_do_not_depend_on_the_batch(rope: dict[str, Any]) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40,
        rope_parameters=rope,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    rows = [Row([3 + at, 5, 7] * length, 40 - 3 * length, 0.0, at) for at, length in enumerate((11, 7, 5, 3, 2, 1))]
    rows += [Row([9] * 3, 4, 0.0, 1), Row([8] * 5, 6, 0.0, 2)]
    alone = [next(iter(decode(model, [row], 0, frozenset()))).tokens for row in rows]
    found = {row.row: row.tokens for row in decode(model, rows, 0, frozenset(), 4)}
    assert [found[at] for at in range(len(rows))] == alone


def test_rows_leave_a_batch_of_layers_with_a_recurrent_state() -> None:
    import torch
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        layer_types=["conv", "full_attention"],
        initializer_range=0.3,
    )
    model = Lfm2ForCausalLM(config).eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    rows = [Row([5 + at] * (3 + at), 2 + 2 * at, 0.0, at) for at in range(6)]
    alone = [next(iter(decode(model, [row], 0, frozenset()))).tokens for row in rows]
    found = {row.row: row.tokens for row in decode(model, rows, 0, frozenset())}
    assert [found[at] for at in range(len(rows))] == alone


def test_a_generator_that_waits_leaves_no_mode_behind(llama: TransformersSession) -> None:
    import torch

    replies = llama.respond(asked(0.0), system=None, template="base")
    next(replies)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_an_adapter_that_fails_half_way_leaves_the_base_as_it_was(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where memory ends while its weights are read: PEFT's layers are in the base by then."""
    from peft import PeftModel

    with Transformers(adapters="unmerged").open(str(made / "llama" / "base")) as session:
        before = said(session, asked(0.0))

        def halfway(self: Any, *_: Any, **__: Any) -> None:
            for name, weight in self.named_parameters():
                if "lora_B" in name:
                    weight.data.fill_(1.0)
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB\nin detail")

        with (
            monkeypatch.context() as patch,
            pytest.raises(ModelError, match="PEFT cannot apply it: CUDA out of memory"),
        ):
            patch.setattr(PeftModel, "load_adapter", halfway)
            session.use(made / "llama" / "adapter")
        session.use(None)
        assert said(session, asked(0.0)) == before
        assert session.use(made / "llama" / "adapter").max_logit_change


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta:x"])
def test_a_device_that_is_not_here_is_one_line(device: str, made: Path) -> None:
    with pytest.raises(ModelError, match=f"device = '{device}': there is none such here") as caught:
        Transformers(device=device).open(str(made / "llama" / "base")).__enter__()
    assert "\n" not in str(caught.value)


def test_what_cannot_be_opened_is_one_line(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is an adapter"), Transformers().open(str(made / "llama" / "adapter")):
        pass
    with pytest.raises(ModelError, match="no such model folder"), Transformers().open(str(tmp_path / "none")):
        pass
    strange = Path(shutil.copytree(made / "llama" / "base", tmp_path / "strange"))
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps(config | {"model_type": "unheard"}))
    with pytest.raises(ModelError) as caught, Transformers().open(str(strange)):
        pass
    assert "\n" not in str(caught.value)
