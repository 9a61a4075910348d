"""The house keeps its floors: imports only go down, names are resolved in one room, and nothing is probed."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aftertune import plugins

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "aftertune"
FLOORS = {
    7: ("cli", "__init__", "__main__", "mitigations", "plugin_types", "training"),
    6: ("commands", "ingest", "integrations"),
    5: ("reporting",),
    4: ("studies",),
    3: ("variants", "tuning", "asking", "judging", "deciding", "inside", "forecasting"),
    2: ("run", "models", "pii", "plugins", "data", "generated_world", "shipped_models"),
    1: (
        "records",
        "findings",
        "naming",
        "headline",
        "outcome",
        "numbers",
        "direction",
        "text",
        "thoughts",
        "errors",
        "extras",
        "files",
        "hardware",
        "toml_records",
        "public",
        "stats",
    ),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
STAGES = FLOORS[3]
GROUND = FLOORS[1]
GROUND_MAY_IMPORT = {*sys.stdlib_module_names, "numpy", "scipy", "pyarrow", "aftertune"}
PLUGIN_FOLDERS = (
    "variants.corpora",
    "tuning.mitigations",
    "asking.benchmarks",
    "asking.backends",
    "judging.judges",
    "inside.analyses",
    "forecasting.predictors",
    "run.executors",
)
RESOLVERS = ("studies", "plugins", "cli.catalogue", "integrations.inspect_ai")
"""Who may turn the name of a plugin into a thing: the room for it, the loader, and those who list what there is."""
DYNAMIC = {
    "plugins": "loads plugins by name",
    "__init__": "loads the public names on first use",
}
BROAD = {
    "asking/backends/transformers.py": "one response",
    "judging/opinions.py": "one verdict",
    "models/sentence_encoder.py": "the library tokenizers raises Exception itself",
    "models/tokenizer_comparison.py": "the library tokenizers raises Exception itself",
}
PROBES = {
    ("asking/backends/_activations.py", "get_decoder"): "a method of some transformers models",
    ("asking/backends/_decoding.py", "attention_layers"): "a field of some models' configurations",
    ("asking/backends/_decoding.py", "rope_parameters"): "a field of some models' configurations",
    ("asking/backends/_prompt_tokens.py", "eos_token_id"): "a field of some generation configurations",
    ("asking/backends/transformers.py", "max_position_embeddings"): "a field of some models' configurations",
    ("asking/benchmarks/philosophical.py", "problem_mark"): "a field of some of PyYAML's errors",
    ("deciding/policy.py", "strerror"): "a field of an OSError, not of the error of broken UTF-8",
    ("hardware.py", "sched_getaffinity"): "a function of some systems",
    ("hardware.py", "sysconf"): "a function of some systems",
    ("judging/judges/moderation.py", "max_position_embeddings"): "a field of some models' configurations",
    ("models/chat.py", "added_tokens_decoder"): "a field of some tokenizers",
    ("models/chat.py", "chat_template"): "a field of some tokenizers",
    ("models/loading.py", "?"): "a class of transformers, by the name that a checkpoint gives",
    ("models/forward_pass.py", "_supports_default_dynamic_cache"): "a method of most transformers models",
    ("models/forward_pass.py", "get_base_model"): "a method of PEFT's models",
    ("models/nf4_weights.py", "quant_state"): "a field of a weight that bitsandbytes holds in 4 bits",
    ("models/nf4_weights.py", "weight"): "a member of some torch modules",
    ("models/proof.py", "is_transposed"): "a field of some of transformers' stacks of experts",
    ("plugins.py", "needs, axes, capabilities"): "what a class declares, shown by `aftertune show`",
    ("run/executors/ray.py", "cause"): "a field of some of Ray's errors",
    ("tuning/trainer.py", "aux_loss"): "a field of some mixtures' outputs",
    ("tuning/first_step.py", "is_quantized"): "a field of models that were loaded in few bits",
}
"""Where something is asked whether it has a member, with whose it is: never one of ours."""

FILES = sorted(SOURCE.rglob("*.py"))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return what a file says: parsed on first use, since each process that collects tests imports this file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def module(path: Path) -> str:
    """Return a file's dotted name below `aftertune`; `__init__` for the package itself."""
    name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module(path): path for path in FILES}


def room(name: str) -> str:
    return name.split(".")[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield every dotted name that a file imports, and each name taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path: Path) -> set[str]:
    """Return the modules of aftertune that a file imports, also where only its types need them."""
    names = {name.removeprefix("aftertune.") for name in imports(tree_of(path)) if name.startswith("aftertune.")}
    return {name for name in names if name in MODULES and name != module(path)}


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Yield the calls of functions by name, bare or as an attribute of whatever."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            if name in names:
                yield node


each_file = pytest.mark.parametrize("path", FILES, ids=shown)

# ---------------------------------------------------------------------------------------------- floors


def test_every_room_has_a_floor() -> None:
    assert {room(module(path)) for path in FILES} == set(FLOOR)


@each_file
def test_imports_go_down_and_no_stage_imports_another(path: Path) -> None:
    here = room(module(path))
    for name in imported(path):
        there = room(name)
        assert FLOOR[there] <= FLOOR[here], f"floor {FLOOR[here]} imports {name} of floor {FLOOR[there]}"
        assert here not in STAGES or there not in STAGES or there == here, f"the stage {here} imports {name}"


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS)
def test_a_plugin_imports_no_plugin(folder: str) -> None:
    """A module whose name starts with `_` is a part of its neighbours, and no plugin."""
    members = {name for name in MODULES for each in PLUGIN_FOLDERS if name.startswith(f"{each}.") and "._" not in name}
    for name, path in MODULES.items():
        if name.startswith(f"{folder}."):
            assert not imported(path) & members, name


def test_only_plugins_import_their_private_neighbours() -> None:
    """`x._y` is a part of the folder `x`."""
    for path in FILES:
        for name in imported(path):
            package, _, last = name.rpartition(".")
            if last.startswith("_"):
                assert module(path).startswith(package), f"{shown(path)} imports {name}"


def circle(edges: dict[str, set[str]]) -> set[str]:
    """Return the nodes that lie on a circle, or that only reach what does."""
    done: set[str] = set()
    while ready := {name for name in edges if name not in done and edges[name] <= done}:
        done |= ready
    return set(edges) - done


def test_modules_form_no_circle() -> None:
    """Types count: a module that only annotates with another's class still cannot be read without it."""
    assert not circle({name: imported(path) for name, path in MODULES.items()})


def test_rooms_form_no_circle() -> None:
    edges: dict[str, set[str]] = {name: set() for name in FLOOR}
    for name, path in MODULES.items():
        edges[room(name)] |= {room(other) for other in imported(path)} - {room(name)}
    assert not circle(edges)


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"a"}, "c": set()}) == {"a", "b"}


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in GROUND])
def test_the_ground_needs_numpy_scipy_and_arrow_only(name: str) -> None:
    for other in imports(tree_of(MODULES[name])):
        assert other.split(".")[0] in GROUND_MAY_IMPORT, f"{name} imports {other}"
        assert room(name) != "stats" or not other.startswith("aftertune.") or other.startswith("aftertune.stats"), (
            f"{name} imports {other}: statistics know nothing of aftertune"
        )


# ---------------------------------------------------------------------------------------------- names into things


@each_file
def test_modules_are_imported_by_name_in_two_places(path: Path) -> None:
    for node in calls(tree_of(path), "import_module", "__import__", "reload", "exec_module"):
        assert module(path) in DYNAMIC, f"line {node.lineno}"


@each_file
def test_a_plugin_is_looked_up_in_one_room(path: Path) -> None:
    name = module(path)
    if any(name == resolver or name.startswith(f"{resolver}.") for resolver in RESOLVERS):
        return
    taken = {other for other in imports(tree_of(path)) if other.startswith("aftertune.plugins.")}
    assert not taken & {f"aftertune.plugins.{each}" for each in ("load", "plugin_class")}, taken
    for node in calls(tree_of(path), "load", "plugin_class"):
        assert not ast.unparse(node.func).startswith("plugins."), f"line {node.lineno}"
        kinds = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        assert not set(kinds) & set(plugins.KINDS), f"line {node.lineno}"


def probes(tree: ast.AST) -> Iterator[str]:
    """Yield the members that something may not have: of `hasattr`, and of `getattr` with a name or a default.

    `getattr(record, field.name)`, with a name that the record is known to have, is none.
    """
    names = {
        node.target.id: ", ".join(str(each.value) for each in node.iter.elts if isinstance(each, ast.Constant))
        for node in ast.walk(tree)
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Tuple)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
            member = node.args[1]
            literal = isinstance(member, ast.Constant)
            if node.func.id == "hasattr" or literal or len(node.args) > 2:
                yield str(member.value) if isinstance(member, ast.Constant) else names.get(ast.unparse(member), "?")


def test_nothing_of_ours_is_asked_whether_it_has_a_member() -> None:
    assert {(shown(path), name) for path in FILES for name in probes(tree_of(path))} == set(PROBES)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("hasattr(backend, 'settle')", ["settle"]),
        ("getattr(backend, 'settle', None)", ["settle"]),
        ("getattr(backend, 'settle')", ["settle"]),
        ("hasattr(backend, name)", ["?"]),
        ("getattr(record, field.name)", []),
        ("getattr(record, field.name, 0)", ["?"]),
    ],
)
def test_a_probe_is_seen(code: str, expected: list[str]) -> None:
    assert list(probes(ast.parse(code))) == expected


# ---------------------------------------------------------------------------------------------- manners


@each_file
def test_only_the_command_line_prints(path: Path) -> None:
    for node in calls(tree_of(path), "print"):
        assert room(module(path)) == "cli" or not isinstance(node.func, ast.Name), f"line {node.lineno}"


def test_errors_are_swallowed_where_one_response_or_verdict_is_made_and_nowhere_else() -> None:
    broad = set()
    for path in FILES:
        tree = tree_of(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = {ast.unparse(each) for each in _caught(node.type)}
                goes_on = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
                if caught & {"everything", "Exception", "BaseException"} and not goes_on:
                    broad.add(shown(path))
    assert broad == set(BROAD)


def _caught(type_: ast.expr | None) -> list[ast.expr]:
    if type_ is None:
        return [ast.Name("everything")]
    return type_.elts if isinstance(type_, ast.Tuple) else [type_]


# ---------------------------------------------------------------------------------------------- the public names


def test_no_public_name_is_shadowed_by_a_module() -> None:
    """`from aftertune import audit` would give the module wherever something had imported it first."""
    import aftertune

    assert not set(aftertune.__all__) & {room(name) for name in MODULES}
    for name in aftertune.__all__:
        member = getattr(aftertune, name)
        assert member.__name__ == name
        assert not isinstance(member, type(sys))


HEAVY = ("torch", "transformers", "peft", "trl", "ray", "scipy", "pyarrow", "datasets", "inspect_ai")


@pytest.mark.parametrize("code", ["import aftertune", "from aftertune.cli import main; main(['--help'])"])
def test_a_start_imports_nothing_heavy(code: str) -> None:
    ask = (
        f"import sys\ntry:\n  {code}\nexcept SystemExit: pass\n"
        f"print('heavy:', *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "heavy:"


# ---------------------------------------------------------------------------------------------- the document


ROW = re.compile(r"^\| *(?P<floor>\d+)? *\| *(?P<rooms>`[^|]+?) *\| *(?P<about>[^|]+?) *\|$")


def table(text: str) -> dict[str, int]:
    """Return room -> floor as a Markdown table tells it; a row without a floor stands on that of the row above."""
    floors: dict[str, int] = {}
    floor = 0
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            floor = int(row["floor"] or floor)
            for name in re.findall(r"`([\w/.]+)`", row["rooms"]):
                name = name.removesuffix("/").removesuffix(".py")
                assert name not in floors, f"{name} stands twice"
                floors[name] = floor
    return floors


def test_the_table_of_rooms_is_true() -> None:
    assert table((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")) == FLOOR


def test_the_table_is_read_as_it_is_written() -> None:
    text = "| floor | room | what |\n|---|---|---|\n| 3 | `asking/` | asks |\n| | `judging/`, `text.py` | reads |\n"
    assert table(text) == {"asking": 3, "judging": 3, "text": 3}


NAMED = re.compile(r"`([\w./-]+\.(?:py|md|toml|json|html|css))`")


@each_file
def test_a_file_that_a_comment_names_is_there(path: Path) -> None:
    """A path with a folder in it; a bare file name may be one that a run or a user has."""
    for name in NAMED.findall(path.read_text(encoding="utf-8")):
        if "/" in name and not name.startswith(("/", ".")):
            roots = (SOURCE, ROOT, path.parent)
            assert any((root / name).is_file() for root in roots), name
