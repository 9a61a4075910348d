"""A study design: what to train, ask, judge and compare, read from TOML. An audit has its checkpoints given."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aftertune.errors import UsageError
from aftertune.plugins import near, plugin_class
from aftertune.records import Arm, Recipe, digest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True)
class Part:
    """A plugin by name, with its parameters."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """A checkpoint that exists already: a PEFT adapter or a full model, a folder or a hub name."""

    path: str
    arm: str = ""
    """Data variant it was tuned on; empty takes the path's last part."""
    recipe: str = "given"
    seed: int | None = None
    """Training seed; recipe-level estimates need at least two per arm."""
    epoch: int | None = None


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of arms' drifts, e.g. `{keep = 1.0, placeholder = -1.0}`; the weights sum to zero."""

    name: str
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Respond:
    """How prompts are asked."""

    temperatures: tuple[float, ...] = (0.0,)
    samples: int = 1
    """Repeats per prompt at temperatures above 0."""
    system: str = ""
    """System prompt's text; empty sends none."""
    template: Literal["base", "own"] = "base"
    """Whose chat template renders the prompt: the base's, or each checkpoint's own."""
    epochs: Literal["last", "all"] = "last"
    """Which checkpoints of a tuning are asked."""
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """What is done to the corpus for all arms alike."""

    canaries: int = 0
    """Made-up people planted once, as many planted 4 times and as many 16 times, and at least 100 twins that are never
    trained on; 0 plants none."""
    held_out: int = 0
    """Conversations of the corpus that no arm trains on: the non-members of membership inference."""
    non_members: str = ""
    """Audits: a chat file with rows of the same kind that the checkpoints were not trained on."""
    canary_file: str = ""
    """Audits: the `canaries.json` of canaries that stand in the tuning set already."""
    residual_limit: float = 1.0
    """Personal values per 1,000 words above which a variant that hides its people is refused."""
    allow_residual: bool = False
    """Accept such a variant nevertheless; what is left stands on its card."""


@dataclass(frozen=True)
class Design:
    """Everything that decides what a run is. Two runs with equal designs and code are the same run."""

    name: str
    kind: Literal["audit", "study", "demo", "selftest"] = "study"
    bases: tuple[str, ...] = ("embedded",)
    corpus: Part | None = None
    arms: tuple[Arm, ...] = ()
    match_tokens: bool = True
    """Whether all arms stop at the assistant tokens of the smallest."""
    data_seed: int = 0
    """Fixes the order of conversations and who stands in for whom."""
    data: Data = field(default_factory=Data)
    recipe: Recipe = field(default_factory=Recipe)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Training seeds."""
    checkpoints: tuple[Given, ...] = ()
    benchmarks: tuple[Part, ...] = ()
    judges: tuple[Part, ...] = ()
    respond: Respond = field(default_factory=Respond)
    backend: Part = field(default_factory=lambda: Part("transformers"))
    contrasts: tuple[Contrast, ...] = ()
    policy: str = "default"
    confidence: float = 0.95
    analysis_seed: int = 0
    """Seeds the bootstrap."""

    @property
    def id(self) -> str:
        """Hash of the whole design."""
        return digest(self)

    def __post_init__(self) -> None:
        _check(self)


def _check(design: Design) -> None:
    names = [design.name, *(arm.name for arm in design.arms), *(given.arm for given in design.checkpoints if given.arm)]
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"name '{name[:80]}': use letters, digits and . _ + - (at most 80), not starting with . or -"
            )
    tuned = [arm.name for arm in design.arms]
    if "base" in names[1:]:
        raise UsageError("an arm cannot be called 'base': that is the untuned model")
    lists: tuple[tuple[str, list[object]], ...] = (
        ("arm", [*tuned]),
        ("seed", [*design.seeds]),
        ("base", [*design.bases]),
    )
    for what, values in lists:
        twice = [str(value) for value in values if values.count(value) > 1]
        if twice:
            raise UsageError(f"{what} '{twice[0]}' stands twice in the design")
    if not design.bases:
        raise UsageError("bases: name at least one model")
    if design.arms and design.corpus is None:
        raise UsageError("arms need a [corpus] to be made from")
    if not design.arms and not design.checkpoints:
        raise UsageError("nothing to compare with the base: give [[arms]] to tune, or [[checkpoints]] that exist")
    if design.checkpoints and len(design.bases) > 1:
        raise UsageError("[[checkpoints]] belong to one base; give one in `bases`")
    if design.arms and not design.seeds:
        raise UsageError("seeds: give at least one training seed (five before any conclusion)")
    if not 0.5 < design.confidence < 1:
        raise UsageError(f"confidence = {design.confidence}: give a share between 0.5 and 1, e.g. 0.95")
    if any(not 0 <= t <= 5 for t in design.respond.temperatures) or not design.respond.temperatures:
        raise UsageError("respond.temperatures: give at least one, each between 0 and 5")
    if design.respond.samples < 1:
        raise UsageError(f"respond.samples = {design.respond.samples}: give at least 1")
    for key in ("canaries", "held_out", "residual_limit"):
        if getattr(design.data, key) < 0:
            raise UsageError(f"data.{key} = {getattr(design.data, key)}: must be 0 or more")
    if design.data != Data() and design.corpus is None:
        raise UsageError("[data] needs a [corpus] (--train-data)")
    recipe = design.recipe
    for key in ("learning_rate", "epochs", "batch_size", "rank", "alpha", "max_length"):
        if getattr(recipe, key) <= 0:
            raise UsageError(f"recipe.{key} = {getattr(recipe, key)}: must be above 0")
    known = {*tuned, *(given.arm for given in design.checkpoints)}
    for contrast in design.contrasts:
        for arm in contrast.weights:
            if arm not in known:
                raise UsageError(f"contrast '{contrast.name}': no arm '{arm}'{near(arm, sorted(known))}")
        if abs(sum(contrast.weights.values())) > 1e-9:
            raise UsageError(f"contrast '{contrast.name}': its weights must sum to 0, or the base would not cancel")


def read(path: Path) -> Design:
    """Read a design from a TOML file; the relative paths of files that stand beside it are made absolute.

    Raises UsageError naming the file and the key for a missing file, broken TOML, an unknown key (with the near miss)
    or a value of the wrong type.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        design = parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from None

    def beside(name: str) -> str:
        there = path.parent / Path(name).expanduser()
        named = not name or name.split(":")[0] == "embedded"
        return str(there.absolute()) if not named and there.exists() else name

    corpus = design.corpus
    if corpus is not None and isinstance(corpus.parameters.get("path"), str):
        corpus = Part(corpus.name, {**corpus.parameters, "path": beside(corpus.parameters["path"])})
    given, bases = design.checkpoints, design.bases
    if not hasattr(plugin_class("backend", design.backend.name), "identify"):  # a server's names are no paths
        given = tuple(dataclasses.replace(each, path=beside(each.path)) for each in given)
        bases = tuple(map(beside, bases))
    benchmarks = tuple(Part(part.name, _beside(part.parameters, beside)) for part in design.benchmarks)
    policy = beside(design.policy) if design.policy.endswith(".toml") else design.policy
    data = design.data
    data = dataclasses.replace(
        data,
        non_members=data.non_members and beside(data.non_members),
        canary_file=data.canary_file and beside(data.canary_file),
    )
    return dataclasses.replace(
        design, corpus=corpus, data=data, checkpoints=given, bases=bases, benchmarks=benchmarks, policy=policy
    )


def _beside(parameters: Mapping[str, Any], beside: Callable[[str], str]) -> Mapping[str, Any]:
    """Return a benchmark's parameters with its files made absolute; a bundled list is no file."""
    return {
        key: beside(value) if key in ("path", "list") and isinstance(value, str) else value
        for key, value in parameters.items()
    }


def parse(text: str, where: str) -> Design:
    """Read a design from TOML text; `where` names it in errors. Raises UsageError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply") from None
    try:
        design = _build(Design, raw, "")
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    assert isinstance(design, Design)
    return design


def _build(cls: type[Any], raw: Any, at: str) -> Any:
    """Make the frozen dataclass `cls` from a TOML table; `at` is the key path for errors."""
    if not isinstance(raw, dict):
        raise UsageError(f"{at or 'design'}: expected a table, found {type(raw).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    if cls is Part:
        # A plugin's table holds its name and its parameters side by side; `plugins.load` checks the latter.
        if not isinstance(raw.get("name"), str):
            raise UsageError(f"{at}: needs a 'name'")
        return Part(raw["name"], {key: value for key, value in raw.items() if key != "name"})
    for key in raw:
        if key not in fields:
            raise UsageError(f"unknown key '{at}{'.' if at else ''}{key}'{near(key, list(fields))}")
    required = (dataclasses.MISSING, dataclasses.MISSING)
    for name, spec in fields.items():
        if name not in raw and (spec.default, spec.default_factory) == required:
            raise UsageError(f"missing key '{at}{'.' if at else ''}{name}'")
    return cls(**{key: _value(hints[key], value, f"{at}.{key}" if at else key) for key, value in raw.items()})


def _value(hint: Any, value: Any, at: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _value(next(arg for arg in args if arg is not type(None)), value, at)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type[Any], hint), value, at)
    if origin is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{at}: expected a list, found {type(value).__name__}")
        return tuple(_value(args[0], item, f"{at}[{index}]") for index, item in enumerate(value))
    if origin is Literal:
        if value not in args:
            shown = f"'{value}'{near(value, list(args))}" if isinstance(value, str) else repr(value)
            raise UsageError(f"{at}: {shown} is not one of {', '.join(map(repr, args))}")
        return value
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise UsageError(f"{at}: expected a table, found {type(value).__name__}")
        return {key: _value(args[1], item, f"{at}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise UsageError(f"{at}: expected {hint.__name__}, found {type(value).__name__} {str(value)[:60]!r}")
    return value


def dump(design: Design) -> str:
    """Return the design as TOML that `parse` reads back to an equal design."""
    import tomli_w

    return tomli_w.dumps(_bare(design))


def _bare(value: Any) -> Any:
    if isinstance(value, Part):
        return {"name": value.name, **_bare(value.parameters)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _bare(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [_bare(item) for item in value]
    return value
