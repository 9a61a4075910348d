"""The backend `vllm` on a stand-in for the command: what it sends, what it takes for an answer, and what it proves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models
from tests.vllm_command import Command, install

from aftertune import plugins
from aftertune.asking.backends._vllm_adapters import RANKS, refuse_adapter, room
from aftertune.errors import AdapterNotAppliedError, MissingPackageError, ModelError, ServerError, UsageError
from aftertune.models.session import Reply, Request
from aftertune.records import Message, Prompt

PROMPTS = ("Where is my booking?", "How do I repair a bicycle tyre?", "Tell me a joke.", "Good morning")


@pytest.fixture(name="models", scope="module")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, two adapters, a full checkpoint of it and one that brings another template."""
    folder = tmp_path_factory.mktemp("models")
    base = tiny_models.save("llama", folder / "base")
    for seed, name in enumerate(("one", "two"), 1):
        tiny_models.save_adapter(base, folder / name, seed=seed, scale=0.2)
    tiny_models.save("llama", folder / "full", seed=5)
    return folder


@pytest.fixture(name="vllm")
def _vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return install(tmp_path, monkeypatch)


def requests(texts: Sequence[str] = PROMPTS, temperature: float = 0.0, **more: Any) -> list[Request]:
    return [
        Request(Prompt(str(k), "b", "s", "c", "c", (Message("user", text),)), temperature, 0, 100 + k, 12, **more)
        for k, text in enumerate(texts)
    ]


def answers(session: Any, asked: Sequence[Request], **how: Any) -> dict[str, Reply]:
    replies = session.respond(asked, **{"system": None, "template": "base", **how})
    return {reply.prompt_id: reply for reply in replies}


# ---------------------------------------------------------------------------------------------- what is asked


@pytest.mark.slow
def test_with_the_model_itself_behind_it_texts_are_those_of_the_backend_transformers(
    models: Path, vllm: Command
) -> None:
    vllm.behave(real=True)
    both: list[dict[str, Reply]] = [{}, {}]
    for found, backend in zip(
        both, (vllm.backend(dtype="float32"), plugins.load("backend", "transformers")), strict=True
    ):
        with backend.open(str(models / "base")) as session:
            for name in ("", "one"):
                session.use(models / name if name else None)
                replies = answers(session, requests(), system="Answer in one word.")
                found |= {f"{name} {key}": reply for key, reply in replies.items()}
    assert both[0] == both[1], "text, ending, tokens of prompt and answer"
    assert len({reply.text for reply in both[0].values()}) > 5


def test_a_request_is_the_local_template_in_tokens_and_nothing_of_the_models_own_settings(
    models: Path, vllm: Command, tmp_path: Path
) -> None:
    import shutil

    from aftertune.models.chat import encode, render_text
    from aftertune.models.identity import resolve
    from aftertune.models.loading import load_tokenizer

    base = Path(shutil.copytree(models / "base", tmp_path / "base"))
    tiny_models.edit_json(base / "generation_config.json", eos_token_id=[1, 7], temperature=0.1, top_p=0.2)
    with vllm.backend().open(str(base)) as session:
        session.use(None)
        replies = answers(session, requests(temperature=0.7), system="Be kind.")
    (started,) = vllm.noted("started")
    given = started["given"]
    assert (given["host"], given["generation-config"], given["dtype"]) == ("127.0.0.1", "vllm", "bfloat16")
    assert "VLLM_API_KEY" in started["environment"]
    assert started["environment"]["VLLM_API_KEY"] not in " ".join(started["words"]), "others see the arguments"
    tokenizer = load_tokenizer(resolve(base))
    bodies = vllm.noted("asked")
    assert len(bodies) == len(PROMPTS)
    for text in PROMPTS:
        written = render_text(tokenizer, (Message("user", text),), "Be kind.", True)
        (body,) = [body for body in bodies if body["prompt"] == encode(tokenizer, written)]
        assert body["temperature"] == 0.7
        assert body["seed"] == 100 + PROMPTS.index(text)
        assert {1, 7, tokenizer.convert_tokens_to_ids("<|eot_id|>")} <= set(body["stop_token_ids"])
    assert all(reply.error is None and reply.token_hash for reply in replies.values())


def test_the_template_of_a_checkpoint_may_be_chosen(models: Path, vllm: Command, tmp_path: Path) -> None:
    own = tiny_models.save("llama", tmp_path / "own", seed=3)
    tiny_models.edit_json(own / "tokenizer_config.json", chat_template=None)
    (own / "chat_template.jinja").write_text(tiny_models.LLAMA.replace("'assistant'", "'assistant'") + "{# own #} Q")
    with vllm.backend().open(str(models / "base")) as session:
        session.use(own)
        by_base = answers(session, requests(), template="base")
        by_own = answers(session, requests(), template="own")
    assert all(by_base[key].token_hash != by_own[key].token_hash for key in by_base)


def test_a_prompt_without_room_is_an_error_of_its_own_and_the_rest_is_answered(models: Path, vllm: Command) -> None:
    with vllm.backend().open(str(models / "base")) as session:
        session.use(None)
        found = answers(session, requests([*PROMPTS, "booking " * 600]))
    assert "no room in the model's context of 512" in (found["4"].error or "")
    assert all(found[key].error is None for key in "0123")


@pytest.mark.parametrize(
    ("how", "why"),
    [("other", "read other tokens than it was sent"), ("nothing", "does not say which tokens it read")],
)
def test_a_server_that_reads_other_tokens_is_refused(models: Path, vllm: Command, how: str, why: str) -> None:
    vllm.behave(reads=how)
    with vllm.backend().open(str(models / "base")) as session, pytest.raises(ServerError, match=why):
        session.use(None)


# ---------------------------------------------------------------------------------------------- thoughts and limits


def thinking(tokenizer: Any, thought: str, answer: str) -> list[int]:
    return list(tokenizer.encode(f"<think>{thought}</think>{answer}", add_special_tokens=False))


def test_a_thought_has_room_of_its_own_and_the_answer_no_more_than_was_asked_for(models: Path, vllm: Command) -> None:
    from aftertune.models.identity import resolve
    from aftertune.models.loading import load_tokenizer

    tokenizer = load_tokenizer(resolve(models / "base"))
    written = thinking(tokenizer, "what do they want of me " * 3, "the booking is changed. " * 5)
    vllm.behave(tokens=written)
    with vllm.backend().open(str(models / "base")) as session:
        session.use(None)
        without = answers(session, requests(PROMPTS[:1]))["0"]
        found = answers(session, requests(PROMPTS[:1], thought_tokens=200))["0"]
    assert without.unanswered
    assert found.thought == ("what do they want of me " * 3).strip()
    assert found.text
    assert ("the booking is changed. " * 5).startswith(found.text)
    assert 1 <= len(tokenizer.encode(found.text, add_special_tokens=False)) <= 12
    assert found.finish_reason == "length"
    assert [body["max_tokens"] for body in vllm.noted("asked")] == [12, 12, 212]


# ---------------------------------------------------------------------------------------------- proof


def test_base_and_adapters_share_a_server_and_a_full_checkpoint_has_its_own(models: Path, vllm: Command) -> None:
    with vllm.backend().open(str(models / "base")) as session:
        proofs = {name: session.use(models / name if name else None) for name in ("", "one", "two")}
        assert len(vllm.noted("started")) == 1
        assert proofs[""].max_logprob_change == 0
        assert proofs["one"].max_logprob_change > 1
        assert proofs["one"] == session.use(models / "one"), "asked again it is the same"
        full = session.use(models / "full")
        assert full.max_logprob_change > 1
        first, second = vllm.noted("started")
        assert (Path(first["given"]["model"]).name, Path(second["given"]["model"]).name) == ("base", "full")
        assert first["given"]["served-model-name"] != second["given"]["served-model-name"]
        assert first["environment"]["VLLM_API_KEY"] != second["environment"]["VLLM_API_KEY"]
        session.use(models / "two")
        assert len(vllm.noted("started")) == 3
    found = {body["model"].partition("-")[0] for body in vllm.noted("asked")}
    assert found <= {"aftertune", "adapter"}


def test_a_full_checkpoint_that_comes_first_says_that_its_change_is_not_known(models: Path, vllm: Command) -> None:
    with vllm.backend().open(str(models / "base")) as session:
        assert session.use(models / "full").max_logprob_change is None
        assert len(vllm.noted("started")) == 1, "for the proof alone the base is not started"


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_an_adapter_that_answers_as_the_base_is_refused(models: Path, vllm: Command, noise: float) -> None:
    vllm.behave(ignores_adapters=True, noise=noise)
    with vllm.backend().open(str(models / "base")) as session:
        for name in ("one", "two", "one"):
            with pytest.raises(AdapterNotAppliedError, match=f"{name}: not applied: vLLM's log-probab") as refused:
                session.use(models / name)
            assert "merge it into its base" in str(refused.value)
            assert ("differ by 0.4" in str(refused.value)) == (noise > 0)
            assert "\n" not in str(refused.value)


def test_noise_hides_no_adapter_that_moves_more_than_it(models: Path, vllm: Command) -> None:
    vllm.behave(noise=0.5)
    with vllm.backend().open(str(models / "base")) as session:
        proof = session.use(models / "one")
    assert proof.max_logprob_change > 1
    assert "the base's own differ by 0.4" in proof.how


def test_an_adapter_in_the_place_of_another_is_refused(models: Path, vllm: Command) -> None:
    vllm.behave(one_adapter=True)
    with vllm.backend().open(str(models / "base")) as session:
        session.use(models / "one")
        with pytest.raises(AdapterNotAppliedError, match=r"two: .* are those with .*one, to the last digit"):
            session.use(models / "two")


def test_a_full_checkpoint_with_the_weights_of_the_base_is_the_base(
    models: Path, vllm: Command, tmp_path: Path
) -> None:
    import shutil

    same = Path(shutil.copytree(models / "base", tmp_path / "same"))
    with vllm.backend().open(str(models / "base")) as session:
        session.use(None)
        assert session.use(same).max_logprob_change == 0


def test_what_vllm_says_of_an_adapter_reaches_the_reader(models: Path, vllm: Command) -> None:
    for how, message in (
        ({"refuse_adapters": True}, r"one: vLLM does not load it \(status 400: .*mlp.strange.*merge it"),
        ({"leaves_out": True}, r"one: vLLM says that it leaves out a part: .*mlp.strange will be ignored"),
    ):
        vllm.behave(**how)
        with (
            vllm.backend().open(str(models / "base")) as session,
            pytest.raises((ModelError, AdapterNotAppliedError), match=message),
        ):
            session.use(models / "one")


def test_the_report_names_the_server_and_what_it_was_told(models: Path, vllm: Command) -> None:
    with vllm.backend(arguments={"quantization": "fp8", "enforce-eager": True}).open(str(models / "base")) as session:
        proof = session.use(models / "one")
        answers(session, requests(temperature=0.9))
        told = session.report()
    assert told["weights"] == "those of its files"
    assert told["declared"]["server"] == "vLLM 0.33.0"
    assert "--quantization fp8 --enforce-eager --dtype bfloat16" in told["declared"]["arguments"]
    assert (told["temperature"], told["seed"]) == ("honoured", "honoured in the trials")
    assert told["finish"].keys() <= {"stop", "length"}
    assert sum(told["finish"].values()) == len(PROMPTS)
    assert told["warnings"] == []
    assert proof.quantization == "fp8"
    assert "adapter in vLLM 0.33.0, bfloat16, --quantization fp8 --enforce-eager" in proof.how


# ---------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"host": "0.0.0.0"}, "aftertune sets it itself"),
        ({"hos": "0.0.0.0"}, "aftertune sets it itself"),
        ({"no-enable-lora": True}, "aftertune sets it itself"),
        ({"api-key": "x"}, "aftertune sets it itself"),
        ({"trust-remote-code": True}, "leave it out"),
        ({"lora-target-modules": ["q_proj"]}, "leave it out"),
        ({"generation-config": "auto"}, "leave it out"),
        ({"config": "a.yaml"}, "leave it out"),
        ({"--enforce-eager": True}, "without dashes"),
        ({"tensor_parallel_size": 2}, "without dashes"),
        ({"load-format": "dummy"}, "random weights"),
        ({"a-token": "x"}, "no place for a secret"),
        ({"quantization": "--host"}, "may not begin with a dash"),
        ({"limit": []}, "give a number"),
        ({"limit": None}, "give a number"),
    ],
)
def test_an_argument_that_would_change_more_than_it_says_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        plugins.load("backend", "vllm", {"arguments": arguments})


@pytest.mark.parametrize(
    "parameters",
    [
        {"dtype": "int8"},
        {"lora_rank": 5},
        {"concurrency": 0},
        {"loading_s": 0},
        {"max_model_len": -1},
        {"arguments": 3},
    ],
)
def test_a_parameter_out_of_range_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        plugins.load("backend", "vllm", parameters)


def test_what_changes_answers_is_in_the_id_and_what_does_not_is_not() -> None:
    from aftertune.models.resolved import ResolvedBackend
    from aftertune.plugins import PluginSpec

    def identity(**parameters: Any) -> str:
        return ResolvedBackend.of(PluginSpec("vllm"), plugins.load("backend", "vllm", parameters)).id

    plain = identity()
    for change in (
        {"dtype": "float16"},
        {"arguments": {"quantization": "fp8"}},
        {"release": "0.33.0"},
        {"lora_rank": 8},
        {"max_model_len": 64},
    ):
        assert identity(**change) != plain, change
    for same in ({"executable": "/opt/vllm/bin/vllm"}, {"loading_s": 60.0}, {"timeout_s": 5.0}):
        assert identity(**same) == plain, same


def test_the_version_is_that_of_the_command_and_an_old_one_is_refused(vllm: Command) -> None:
    backend = vllm.backend(lora_rank=-1)
    assert backend.choose(["base"], [4, 16, 0]) == {"lora_rank": 16, "release": "0.33.0"}
    assert backend.choose(["base"], []) == {"lora_rank": 0, "release": "0.33.0"}
    for release, good in (("0.10.2", True), ("0.11.0rc1", True), ("0.1.dev1+g75231eff2", True), ("1.0.0", True)):
        vllm.behave(release=release)
        assert backend.choose([], [])["release"] == release
        assert good
    for release in ("0.10.1.1", "0.6.3", "0.9.2"):
        vllm.behave(release=release)
        with pytest.raises(UsageError, match=rf"vLLM {release}, which does not say .* install 0.10.2 or later"):
            backend.choose([], [])
    vllm.behave(release="no number at all")
    with pytest.raises(UsageError, match=r"--version fails \(exit code 0\): no number at all"):
        backend.choose([], [])


def test_another_version_than_the_run_began_with_is_refused(models: Path, vllm: Command) -> None:
    with (
        pytest.raises(UsageError, match=r"the run began with vLLM 0.11.0, and here is 0.33.0.*another run folder"),
        vllm.backend(release="0.11.0").open(str(models / "base")),
    ):
        pass


def test_without_vllm_it_says_what_to_install(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = plugins.load("backend", "vllm")
    assert "pip install vllm" in backend.lacking()
    with pytest.raises(MissingPackageError, match="no command 'vllm' here: pip install vllm") as refused:
        backend.choose([], [])
    assert "\n" not in str(refused.value)
    assert "--backend transformers" in str(refused.value)
    with pytest.raises(MissingPackageError, match="no command 'vllm'"), backend.open(str(models / "base")):
        pass


def test_an_adapter_as_the_base_is_refused(models: Path, vllm: Command) -> None:
    with pytest.raises(ModelError, match="the base must be a full model"), vllm.backend().open(str(models / "one")):
        pass


# ---------------------------------------------------------------------------------------------- adapters


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
        ({"bias": "lora_only"}, "biases"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "embed"),
        ({"target_modules": ["lm_head", "q_proj"]}, "lm_head.base_layer.weight is a tensor on the embeddings"),
        ({"init_lora_weights": "pissa"}, "pissa"),
    ],
)
def test_an_adapter_that_vllm_would_serve_as_something_else_is_refused_by_its_files(
    models: Path, tmp_path: Path, config: dict[str, Any], why: str
) -> None:
    folder = tiny_models.save_adapter(models / "base", tmp_path / "adapter", **config)
    with pytest.raises(ModelError, match=why) as refused:
        refuse_adapter("mine", folder)
    assert "merge it into its base and give the merged model, or ask it with --backend transformers" in str(
        refused.value
    )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("config", [{}, {"rank": 64}, {"use_rslora": True}, {"target_modules": ["q_proj", "v_proj"]}])
def test_a_plain_adapter_is_not_refused(models: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    refuse_adapter("mine", tiny_models.save_adapter(models / "base", tmp_path / "adapter", **config))


def rename(folder: Path, rule: Any) -> Path:
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    save_file({rule(key): value for key, value in load_file(file).items()}, file)
    return folder


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (lambda key: key.replace("base_model.model.", ""), "a name that vLLM does not know"),
        (
            lambda key: key.replace(".model.layers", ".model._orig_mod.layers").replace(".weight", ".default.weight"),
            "name",
        ),
        (lambda key: key.replace("mlp.up_proj", "mlp.experts.3.up_proj"), "experts"),
        (lambda key: key.replace("model.layers", "vision_tower.encoder.layers"), "outside of the layers"),
        (lambda key: key.replace("model.layers.1", "mtp.layers.1"), "outside of the layers"),
    ],
)
def test_tensors_that_would_be_left_out_without_a_word_are_refused(
    models: Path, tmp_path: Path, rule: Any, why: str
) -> None:
    folder = rename(tiny_models.save_adapter(models / "base", tmp_path / "adapter"), rule)
    with pytest.raises(ModelError, match=why):
        refuse_adapter("mine", folder)


def test_other_methods_and_other_files_are_refused(models: Path, tmp_path: Path) -> None:
    folder = tiny_models.save_adapter(models / "base", tmp_path / "adapter")
    tiny_models.edit_json(folder / "adapter_config.json", peft_type="LOHA")
    with pytest.raises(ModelError, match="of the type LOHA, and vLLM serves LoRA alone"):
        refuse_adapter("mine", folder)
    for option, value in (("lora_bias", True), ("layer_replication", [[0, 2]]), ("target_parameters", ["w"])):
        tiny_models.edit_json(folder / "adapter_config.json", peft_type="LORA", **{option: value})
        with pytest.raises(ModelError, match="backend vllm cannot ask it"):
            refuse_adapter("mine", folder)
        tiny_models.edit_json(folder / "adapter_config.json", **{option: None})
    refuse_adapter("mine", folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model-00001-of-00001.safetensors")
    with pytest.raises(ModelError, match=r"reads adapter_model.safetensors alone"):
        refuse_adapter("mine", folder)


def test_the_server_has_room_for_the_largest_rank() -> None:
    assert [room(ranks) for ranks in ([], [0], [1], [8], [9], [4, 33], [257], [512])] == [0, 0, 8, 8, 16, 64, 320, 512]
    assert all(room([rank]) == rank for rank in RANKS)
    with pytest.raises(ModelError, match="rank 513: vLLM takes 512 at most"):
        room([513])


def test_a_run_without_room_for_an_adapter_is_refused(vllm: Command, models: Path) -> None:
    with pytest.raises(ModelError, match="lora_rank = 8, and the run has an adapter that needs 16"):
        vllm.backend().choose([], [16])
    with vllm.backend(lora_rank=0).open(str(models / "base")) as session:
        with pytest.raises(ModelError, match="no room for adapters"):
            session.use(models / "one")
        session.use(None)
        assert "enable-lora" not in vllm.noted("started")[0]["given"]


def test_starting_is_said(models: Path, vllm: Command, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), vllm.backend().open(str(models / "base")) as session:
        session.use(None)
    assert any("vllm serve: starting with" in message for message in caplog.messages)
