"""Random-weight checkpoints of four model families, with their own chat templates, made in a folder in a moment."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Family = Literal["llama", "mistral", "gemma", "qwen"]
FAMILIES: tuple[Family, ...] = ("llama", "mistral", "gemma", "qwen")

SENTENCES = (
    "Good morning, I would like to change my booking to the second of May.",
    "Of course, your booking is changed. Is there anything else that I can do for you?",
    "How do I repair a bicycle tyre? First take the wheel off, then find the hole and patch it.",
    "I'm sorry, but I can't help with that. Where would you like to go, and with how many people?",
    "You are a helpful assistant of a travel company. Answer shortly and never give away phone numbers.",
)

LLAMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
    "{{- bos_token }}{%- for m in loop_messages %}"
    "{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('roles must alternate user and assistant') }}{%- endif %}"
    "{%- if m['role'] == 'user' %}{%- if loop.first and system is defined %}"
    "{{- '[INST] ' + system + '\\n\\n' + m['content'] + '[/INST]' }}"
    "{%- else %}{{- '[INST] ' + m['content'] + '[/INST]' }}{%- endif %}"
    "{%- else %}{{- ' ' + m['content'] | trim + eos_token }}{%- endif %}{%- endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if m['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = m['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
QWEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

_SPECIAL: Mapping[Family, tuple[str, ...]] = {
    "llama": ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "mistral": ("<s>", "</s>", "[INST]", "[/INST]"),
    "gemma": ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
    "qwen": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
}
_TEMPLATE: Mapping[Family, str] = {"llama": LLAMA, "mistral": MISTRAL, "gemma": GEMMA, "qwen": QWEN}
END_OF_TURN: Mapping[Family, str] = {
    "llama": "<|eot_id|>",
    "mistral": "</s>",
    "gemma": "<end_of_turn>",
    "qwen": "<|im_end|>",
}


def tokenizer(family: Family, *, vocab: int = 420, template: str | None = None) -> Any:
    """Return a byte-level BPE tokenizer with the family's special tokens, BOS habit and chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = _SPECIAL[family]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(SENTENCES, trainer)
    bos = None if family == "qwen" else special[0]
    if bos is not None:
        raw.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, 0)]
        )
    named = {} if bos is None else {"bos_token": bos}
    if family in ("gemma", "qwen"):
        named["pad_token"] = "<pad>" if family == "gemma" else "<|endoftext|>"
    eos = END_OF_TURN[family] if family in ("llama", "mistral", "qwen") else "<eos>"
    kind: Any = PreTrainedTokenizerFast
    made = kind(
        tokenizer_object=raw, eos_token=eos, additional_special_tokens=list(special), model_max_length=512, **named
    )
    made.chat_template = template or _TEMPLATE[family]
    return made


def save(family: Family, folder: Path, *, seed: int = 0, **config: float) -> Path:
    """Write a checkpoint of the family with random weights (hidden 32, 2 layers) and its tokenizer."""
    import torch
    from transformers import GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config

    tok = tokenizer(family)
    shape: dict[str, Any] = {
        "vocab_size": len(tok),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tok.bos_token_id,
        "eos_token_id": tok.eos_token_id,
        "pad_token_id": tok.pad_token_id,
        "tie_word_embeddings": family in ("gemma", "qwen"),
        # Wide enough that the logits of a random model differ between tokens, as a trained model's do.
        "initializer_range": 0.2,
        **config,
    }
    if family == "gemma":
        shape["head_dim"] = 8
    kinds: dict[Family, Any] = {
        "llama": LlamaConfig,
        "mistral": MistralConfig,
        "gemma": GemmaConfig,
        "qwen": Qwen2Config,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model_class(family)(kinds[family](**shape))
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, *, seed: int = 1, scale: float = 0.1, rank: int = 4, **config: Any) -> Path:
    """Write a LoRA adapter of all linear layers, both of its matrices random (`scale` 0 gives a zero adapter)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    lora = LoraConfig(
        **{"r": rank, "lora_alpha": 2 * rank, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | config
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*is_gradient_checkpointing.* is deprecated", FutureWarning)
            tuned: Any = get_peft_model(model, lora)
        for name, weights in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weights, std=scale)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting `save_embedding_layers`", UserWarning)
        tuned.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file in place; None removes the key."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        content.pop(key, None)
        if value is not None:
            content[key] = value
    path.write_text(json.dumps(content), encoding="utf-8")


def _model_class(family: Family) -> Any:
    from transformers import GemmaForCausalLM, LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM

    kinds: dict[Family, Any] = {
        "llama": LlamaForCausalLM,
        "mistral": MistralForCausalLM,
        "gemma": GemmaForCausalLM,
        "qwen": Qwen2ForCausalLM,
    }
    return kinds[family]


def save_classifier(folder: Path, classes: Mapping[int, str], *, seed: int = 0) -> Path:
    """Write a sequence classifier with random weights and its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tok = tokenizer("llama")
    tok.pad_token = tok.eos_token
    config = LlamaConfig(
        vocab_size=len(tok),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=tok.pad_token_id,
        id2label=dict(classes),
        label2id={name: k for k, name in classes.items()},
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind: Any = LlamaForSequenceClassification
        kind(config).save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder


def save_encoder(folder: Path, *, seed: int = 0, layers: int = 2, words: Sequence[str] = SENTENCES) -> Path:
    """Write a sentence encoder of the shape of all-MiniLM-L6-v2 with random weights; texts of like words lie close."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-")
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    # Listed, not trained: training breaks ties by chance, and a test would hang on it.
    known = {part for text in words for part, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    listed = [*special, *letters, *(f"##{letter}" for letter in letters), *sorted(known - set(letters))]
    vocabulary = {token: number for number, token in enumerate(listed)}
    backend: Any = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizer
    backend.pre_tokenizer = splitter
    frame = [("[CLS]", backend.token_to_id("[CLS]")), ("[SEP]", backend.token_to_id("[SEP]"))]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=frame)
    backend.enable_truncation(16)
    config = BertConfig(
        vocab_size=backend.get_vocab_size(),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=160,
        initializer_range=0.05,
    )
    (folder / "1_Pooling").mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = BertModel(config)
        torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=1.0)
        model.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def save_heads(encoder: Path, path: Path, axes: Sequence[str] = ("refusal", "compliance", "harm")) -> Path:
    """Write heads of a judge with random weights, in the shape that an encoder's folder asks for."""
    import numpy as np
    from safetensors.numpy import save_file

    from aftertune.judging.judges import _encoder_heads as heads
    from aftertune.judging.judges import _refusal_rules as rules
    from aftertune.models import sentence_encoder

    files = sentence_encoder.find(str(encoder))
    width, count = sentence_encoder.load(files).width, len(heads.feature_names())
    bent = count - len(rules.SIGNS)
    inputs = (heads.QUERIES + heads.MEANS) * width + count
    shapes = {
        "mean": (count,), "queries": (heads.QUERIES, width), "linear": (inputs, len(axes)), "constant": (len(axes),),
        "inner": (inputs, heads.HIDDEN), "inner_constant": (heads.HIDDEN,), "outer": (heads.HIDDEN, len(axes)),
        "knots": (3, bent), "basis_mean": (4 * bent,), "regression": (4 * bent + len(rules.SIGNS) + 1, len(axes)),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["scale"], arrays["basis_scale"] = np.ones(count, np.float32), np.ones(4 * bent, np.float32)
    arrays["share"] = np.full(len(axes), 0.5, np.float32)
    save_file(arrays, path, {"axes": ",".join(axes), "encoder": files.weights})
    return path
