"""A study design: what to train, ask, judge and compare, read from TOML. An audit has its checkpoints given."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aftertune import toml_records
from aftertune.errors import UsageError, near
from aftertune.files import no_file
from aftertune.models.chat import OWN_ARGUMENTS
from aftertune.plugins import PluginSpec, is_server
from aftertune.public import check_record
from aftertune.records import Arm, Contrast, Data, Recipe, Respond, digest
from aftertune.studies import closing_tables as closing
from aftertune.studies import cost as costs
from aftertune.studies import paths as places
from aftertune.studies.closing_tables import StudyTable
from aftertune.studies.cost import Cost

BOTH = "[recipe] and [[recipes]] are both given; give one recipe in [recipe], or all of them in [[recipes]]"
_NAME = re.compile(r"(?!(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")


@dataclass(frozen=True)
class Given:
    """A checkpoint that exists already: a PEFT adapter or a full model, a folder or a hub name."""

    path: str
    base: str = ""
    """Which of `bases` it was tuned from; may be left out where there is but one."""
    arm: str = ""
    """Data variant it was tuned on; empty takes the path's last part."""
    corpus: str = ""
    """Which of `[corpora.*]` its tuning data are; empty takes that of its arm, and else `[corpus]`."""
    recipe: str = "given"
    seed: int | None = None
    """Training seed; recipe-level estimates need at least two per arm."""
    epoch: int | None = None
    mitigations: tuple[PluginSpec, ...] = ()
    """What is tried on its finished weights, each by itself; see `Recipe.mitigations`."""


@dataclass(frozen=True)
class Design:
    """Everything that decides what a run is. Two runs with equal designs and code are the same run."""

    name: str
    kind: Literal["audit", "study", "demo", "selftest", "repair"] = "study"
    bases: tuple[str, ...] = ("embedded",)
    corpus: PluginSpec | None = None
    """What arms are made from that name no other."""
    corpora: Mapping[str, PluginSpec] = field(default_factory=dict)
    """More corpora, by the names that arms call them."""
    arms: tuple[Arm, ...] = ()
    match_tokens: bool = True
    """Whether all arms stop at the assistant tokens of the smallest."""
    data_seed: int = 0
    """Fixes the order of conversations and who stands in for whom."""
    data: Data = field(default_factory=Data)
    recipe: Recipe = field(default_factory=Recipe)
    """What every arm is tuned with, where there is one; `recipes` takes its place."""
    recipes: tuple[Recipe, ...] = ()
    """Each arm is tuned with each of them, unless the arm names its own."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Training seeds."""
    checkpoints: tuple[Given, ...] = ()
    own: PluginSpec | None = None
    """The benchmark whose requests the bases are asked for refusals and answers of their own, where mitigations need
    them: harmful requests and ordinary ones, none of which is asked in the study itself."""
    benchmarks: tuple[PluginSpec, ...] = ()
    judges: tuple[PluginSpec, ...] = ()
    respond: Respond = field(default_factory=Respond)
    backend: PluginSpec = field(default_factory=lambda: PluginSpec("transformers"))
    analyses: tuple[PluginSpec, ...] = ()
    """What is looked at inside the models."""
    predictors: tuple[PluginSpec, ...] = ()
    """What is read off the tuning data beforehand."""
    contrasts: tuple[Contrast, ...] = ()
    policy: str = "default"
    until_decided: bool = False
    """Whether prompts are asked in ten parts, until every arm is decided; then the rest is not asked."""
    confidence: float = 0.95
    analysis_seed: int = 0
    """Seeds the bootstrap."""
    tables: tuple[StudyTable, ...] = ()
    """What closes the report."""
    cost: Cost = field(default_factory=Cost)
    """What `aftertune plan` assumes."""

    @property
    def id(self) -> str:
        """Hash of everything but what decides afterwards (`policy`) or is only printed (`tables`, `cost`)."""
        return digest(dataclasses.replace(self, policy="", tables=(), cost=Cost()))

    @property
    def sources(self) -> Mapping[str, PluginSpec]:
        """Return every corpus by name; that of `[corpus]` has the empty one."""
        return ({"": self.corpus} if self.corpus is not None else {}) | dict(self.corpora)

    def recipes_of(self, arm: Arm) -> tuple[Recipe, ...]:
        """Return what an arm is tuned with; in a repair nothing, unless a mitigation is tried on it.

        Such an arm is composed all the same: all arms are matched to the tokens of the smallest.
        """
        if self.kind == "repair" and not arm.mitigations:
            return ()
        return tuple(each for each in self.recipes or (self.recipe,) if not arm.recipes or each.name in arm.recipes)

    @property
    def mitigations(self) -> tuple[PluginSpec, ...]:
        """Return every mitigation that is tried somewhere, each once."""
        every = [spec for recipe in self.recipes or (self.recipe,) for spec in recipe.mitigations]
        every += [spec for arm in self.arms for spec in arm.mitigations]
        every += [spec for given in self.checkpoints for spec in given.mitigations]
        return tuple({digest(spec): spec for spec in every}.values())

    @property
    def named_further(self) -> set[tuple[str, str]]:
        """Return the (arm, recipe) of contrasts and tables that name a mitigated training or further weights.

        Which there are is known when the mitigations have been looked up.
        """
        somewhere = any(arm.mitigations for arm in self.arms)
        recipes = [each for each in self.recipes or (self.recipe,) if somewhere or each.mitigations]
        makers = [recipe.further("") for recipe in recipes]
        makers += [f"{given.recipe}+" for given in self.checkpoints if given.mitigations]
        terms = [tuple(term.split("/", 1)) for each in self.contrasts for term in each.weights if "/" in term]
        rows = [(row.arm, row.recipe) for table in self.tables for row in table.rows]
        return {(arm, recipe) for arm, recipe in (*terms, *rows) if recipe.startswith(tuple(makers))}

    def corpus_of(self, given: Given) -> str:
        """Return the name of the corpus that an existing checkpoint was tuned on: its own, or that of its arm."""
        return given.corpus or next((arm.corpus for arm in self.arms if arm.name == given.arm), "")

    def __post_init__(self) -> None:
        check_record(self, "Design")
        _check(self)


def _check(design: Design) -> None:
    arms = [*(arm.name for arm in design.arms), *(given.arm for given in design.checkpoints if given.arm)]
    recipes = [*(each.name for each in design.recipes or (design.recipe,)), *(g.recipe for g in design.checkpoints)]
    for name in (design.name, *arms, *recipes, *design.corpora):
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"name '{name[:80]}': use letters, digits and . _ + - (at most 80), starting with a letter or digit; "
                "no device of Windows such as con or aux"
            )
    tuned = [arm.name for arm in design.arms]
    if "base" in arms:
        raise UsageError("an arm cannot be called 'base': that is the untuned model")
    if "source" in map(str.lower, tuned):
        raise UsageError("an arm cannot be called 'source': that is the untouched corpus among a run's files")
    for name in tuned:
        for other in tuned:
            if name < other and name.lower() == other.lower():
                raise UsageError(
                    f"arms '{name}' and '{other}' differ in case alone, and so would their files: rename one"
                )
    lists: tuple[tuple[str, list[object]], ...] = (
        ("arm", [*tuned]),
        ("seed", [*design.seeds]),
        ("base", [*design.bases]),
        ("recipe", [each.name for each in design.recipes]),
    )
    for what, values in lists:
        twice = [str(value) for value in values if values.count(value) > 1]
        if twice:
            raise UsageError(f"{what} '{twice[0]}' stands twice in the design")
    if not design.bases:
        raise UsageError("bases: name at least one model")
    _check_names(design)
    if not design.arms and not design.checkpoints:
        raise UsageError("nothing to compare with the base: give [[arms]] to tune, or [[checkpoints]] that exist")
    if design.arms and not design.seeds:
        raise UsageError("seeds: give at least one training seed (five before any conclusion)")
    if not 0.5 < design.confidence < 1:
        raise UsageError(f"confidence = {design.confidence}: give a share between 0.5 and 1, e.g. 0.95")
    if design.until_decided:
        reading = {"analyses": design.analyses, "predictors": design.predictors, "mitigations": design.mitigations}
        for what, given in reading.items():
            if given:
                raise UsageError(f"until_decided: {what} read all prompts; leave them out, or ask all prompts at once")
    if any(not 0 <= t <= 5 for t in design.respond.temperatures) or not design.respond.temperatures:
        raise UsageError("respond.temperatures: give at least one, each between 0 and 5")
    if design.respond.samples < 1:
        raise UsageError(f"respond.samples = {design.respond.samples}: give at least 1")
    if (most := design.respond.answer_tokens) is not None and most < 1:
        raise UsageError(f"respond.answer_tokens = {most}: give at least 1, or leave it out")
    if design.respond.thought_tokens < 0:
        raise UsageError(f"respond.thought_tokens = {design.respond.thought_tokens}: give 0 or more")
    if own := sorted(OWN_ARGUMENTS & set(design.respond.template_arguments)):
        raise UsageError(f"respond.template_arguments.{own[0]}: aftertune sets this itself")
    for key in ("canaries", "held_out", "residual_limit"):
        if getattr(design.data, key) < 0:
            raise UsageError(f"data.{key} = {getattr(design.data, key)}: must be 0 or more")
    if design.data != Data() and not design.sources:
        raise UsageError("[data] needs a [corpus] (--train-data)")
    if (design.data.non_members or design.data.canary_file) and len(design.sources) > 1:
        raise UsageError("data.non_members and data.canary_file belong to one corpus, and the design has several")
    for at, recipe in _recipes(design):
        for key in ("learning_rate", "epochs", "batch_size", "rank", "alpha", "max_length"):
            if getattr(recipe, key) <= 0:
                raise UsageError(f"{at}.{key} = {getattr(recipe, key)}: must be above 0")
    pairs = {(arm.name, recipe.name) for arm in design.arms for recipe in design.recipes_of(arm)}
    pairs |= {(given.arm, given.recipe) for given in design.checkpoints if given.arm}
    pairs |= {(arm, recipe) for arm, recipe in design.named_further if arm in arms}
    known = sorted({arm for arm, _ in pairs} | {f"{arm}/{recipe}" for arm, recipe in pairs})
    for contrast in design.contrasts:
        for term in contrast.weights:
            if term not in known:
                what = "arm and recipe" if "/" in term else "arm"
                raise UsageError(f"contrast '{contrast.name}': no {what} '{term}'{near(term, known)}")
        if abs(sum(contrast.weights.values())) > 1e-9:
            raise UsageError(f"contrast '{contrast.name}': its weights must sum to 0, or the base would not cancel")
    costs.check(design.cost)
    names = [contrast.name for contrast in design.contrasts]
    closing.check(design.tables, pairs=pairs, bases=design.bases, contrasts=names)


def _recipes(design: Design) -> list[tuple[str, Recipe]]:
    """Return each recipe with where it stands in the file."""
    if not design.recipes:
        return [("recipe", design.recipe)]
    if design.recipe != Recipe():
        raise UsageError(BOTH)
    return [(f"recipes[{index}]", recipe) for index, recipe in enumerate(design.recipes)]


def _check_names(design: Design) -> None:
    """Refuse what names a corpus, a recipe or a base that is not there."""
    recipes = [recipe.name for recipe in design.recipes or (design.recipe,)]
    for index, arm in enumerate(design.arms):
        at = f"arms[{index}]"
        if arm.corpus:
            _one_of(arm.corpus, design.corpora, f"{at}.corpus", "corpus")
        elif design.corpus is None:
            what = f"{at}.corpus: name one of [corpora.*]" if design.corpora else "arms need a [corpus] to be made from"
            raise UsageError(what)
        for name in arm.recipes:
            _one_of(name, recipes, f"{at}.recipes", "recipe")
    used = {arm.corpus for arm in design.arms}
    for index, given in enumerate(design.checkpoints):
        at = f"checkpoints[{index}]"
        if given.corpus:
            _one_of(given.corpus, design.corpora, f"{at}.corpus", "corpus")
        if given.base:
            _one_of(given.base, design.bases, f"{at}.base", "base")
        elif len(design.bases) > 1:
            raise UsageError(f"{at}: name its base, one of {', '.join(design.bases)}")
        used.add(design.corpus_of(given))
    for name in design.sources:
        if name not in used:
            at = f"corpora.{name}" if name else "corpus"
            raise UsageError(f"{at}: no arm is made from it; name it in an arm's 'corpus', or leave it out")
    for base in design.bases:
        if (
            not design.arms
            and design.checkpoints
            and base not in {g.base or design.bases[0] for g in design.checkpoints}
        ):
            raise UsageError(f"base '{base}': no checkpoint names it, and nothing is tuned from it")


def _one_of(name: str, known: Iterable[str], at: str, what: str) -> None:
    if name not in known:
        raise UsageError(f"{at}: no {what} '{name}'{near(name, list(known))}")


def read(path: Path) -> Design:
    """Read a design from a TOML file; the relative paths of files that stand beside it are made absolute.

    Raises UsageError naming the file and the key for a missing file, broken TOML, an unknown key (with the near miss)
    or a value of the wrong type.
    """
    if not path.is_file():
        raise no_file(path)
    try:
        design = parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from None

    def near_it(name: str) -> str:
        return places.beside(path.parent, name)

    def placed(part: PluginSpec) -> PluginSpec:
        return PluginSpec(part.name, places.of_plugin(part.parameters, path.parent))

    given, bases = design.checkpoints, design.bases
    if not is_server(design.backend.name):
        given = tuple(dataclasses.replace(each, path=near_it(each.path), base=near_it(each.base)) for each in given)
        bases = tuple(map(near_it, bases))
    policy = near_it(design.policy) if design.policy.endswith(".toml") else design.policy
    data = design.data
    data = dataclasses.replace(
        data,
        non_members=data.non_members and near_it(data.non_members),
        canary_file=data.canary_file and near_it(data.canary_file),
    )

    def tried(part: Recipe | Arm | Given) -> Any:
        return dataclasses.replace(part, mitigations=tuple(map(placed, part.mitigations)))

    return dataclasses.replace(
        design, arms=tuple(map(tried, design.arms)), recipe=tried(design.recipe),
        recipes=tuple(map(tried, design.recipes)), own=placed(design.own) if design.own is not None else None,
        corpus=placed(design.corpus) if design.corpus is not None else None,
        corpora={name: placed(part) for name, part in design.corpora.items()}, data=data,
        checkpoints=tuple(map(tried, given)),
        bases=bases, benchmarks=tuple(map(placed, design.benchmarks)),
        analyses=tuple(map(placed, design.analyses)),
        predictors=tuple(map(placed, design.predictors)),
        judges=tuple(map(placed, design.judges)), policy=policy,
    )  # fmt: skip


def parse(text: str, where: str) -> Design:
    """Read a design from TOML text; `where` names it in errors. Raises UsageError."""
    try:
        raw = toml_records.load(text)
        if raw.get("recipe") and raw.get("recipes"):
            raise UsageError(BOTH)
        design = toml_records.build(Design, raw)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    assert isinstance(design, Design)
    return design


def dump(design: Design) -> str:
    """Return the design as TOML that `parse` reads back to an equal design."""
    import tomli_w

    table = toml_records.bare(design)
    del table["recipe" if design.recipes else "recipes"]
    return tomli_w.dumps(table)
