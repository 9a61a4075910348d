"""An API key comes from the environment and appears in no file, log, traceback or terminal, whatever goes wrong."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.commands.test_served import FEW, answer, verdict
from tests.scripted_server import Body, Scripted, serving, trial

from aftertune import plugins
from aftertune.cli import main
from aftertune.commands import status
from aftertune.commands.export import export
from aftertune.errors import UsageError
from aftertune.judging.judges.perspective import Perspective
from aftertune.plugins import PluginSpec
from aftertune.studies import plugin_text
from aftertune.studies.design import Design, Given, dump

KEY = "sk/0123+very=secret&<key>"
FORMS = (KEY, quote(KEY, safe=""), json.dumps(KEY)[1:-1].replace("/", "\\/"), KEY.replace("+", "\\u002b"),
         KEY.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), "0123+very", "0123\\u002bvery")  # fmt: skip
TROUBLE: dict[str, Callable[[Body, int], str | None]] = {
    "none": lambda body, before: None,
    "refused": lambda body, before: "echo" if not trial(body) else None,
    "server error": lambda body, before: "500" if not trial(body) else None,
    "unknown key": lambda body, before: "401" if not trial(body) else None,
    "stall": lambda body, before: "stall 0.5" if not trial(body) else None,
    "half": lambda body, before: "half" if not trial(body) else None,
    "cut": lambda body, before: "cut" if not trial(body) else None,
    "hang up": lambda body, before: "hangup" if not trial(body) else None,
    "another model": lambda body, before: "wrong" if not trial(body) else None,
}


def everything(root: Path) -> str:
    return "\n".join(
        f"{path} {path.read_bytes().decode('utf-8', 'replace') if path.is_file() else ''}" for path in root.rglob("*")
    )


def clean(text: str) -> None:
    for form in FORMS:
        assert form not in text, text[max(0, text.index(form) - 200) : text.index(form) + 100]


def parrot(body: Body) -> str:
    """A server that says the key in each of its answers."""
    return f"{answer(body)} My key is {KEY}."


def design(url: str, judge_url: str, **more: Any) -> Design:
    common = {"key_env": "A_KEY", "backoff_s": 0.001, "retries": 1, "timeout_s": 30.0, **more}
    own = {"name": "endpoint", "url": judge_url, **common}
    return Design(
        name="keys",
        bases=("base",),
        checkpoints=(Given("tuned", arm="a"),),
        benchmarks=(FEW,),
        judges=(
            PluginSpec("refusal"),
            PluginSpec("rubric", {"model": "arbiter", "rubric": "sorry_bench", "backend": own}),
        ),
        backend=PluginSpec("endpoint", {"url": url, **common}),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("what", "stream"), [*((what, False) for what in TROUBLE), ("none", True), ("cut", True)])
def test_no_key_is_left_behind_whatever_goes_wrong(
    what: str, stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        with (
            serving(Scripted(say=parrot, trouble=TROUBLE[what], key=KEY, fingerprint=KEY)) as served,
            serving(
                Scripted(say=verdict, models={"arbiter": {"root": f"judge {KEY}"}}, trouble=TROUBLE[what], key=KEY)
            ) as judge,
        ):
            served.models = {"base": {"root": f"base {KEY}"}, "tuned": {"parent": KEY}}
            wait = 0.2 if what == "stall" else 30.0
            (tmp_path / "d.toml").write_text(dump(design(served.url, judge.url, stream=stream, timeout_s=wait)))
            with pytest.raises(SystemExit) as ended:
                main(["study", str(tmp_path / "d.toml"), "-o", str(tmp_path / "run")])
            assert (ended.value.code in (0, 3, 4)) == (what == "none"), capsys.readouterr()
            for command in (["status"], ["report"], ["status", "--json"]):
                with pytest.raises(SystemExit):
                    main([*command, str(tmp_path / "run")])
                    sys.exit(0)
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(before)
    if what == "none":
        export(tmp_path / "run", tmp_path / "copy")
    found = capsys.readouterr()
    clean(everything(tmp_path))
    clean(found.out + found.err)
    clean(heard.getvalue())
    assert "[key]" in everything(tmp_path) or what != "none"
    assert "A_KEY" in everything(tmp_path / "run"), "the name of the variable is no secret"


def test_a_traceback_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do the objects in its frames say it of themselves."""
    monkeypatch.setenv("A_KEY", KEY)
    with serving(Scripted(key=KEY)) as served:
        backend = plugin_text.plugin("backend", f"endpoint:url={served.url},key_env=A_KEY")
        loaded = plugins.load("backend", backend.name, backend.parameters)

        def broken(_: object) -> None:
            raise ZeroDivisionError("inside")

        client = loaded.client()
        try:
            list(
                client.ask(
                    [{"model": "base", "messages": [{"content": "x"}], "temperature": 0, "max_tokens": 1}], broken
                )
            )
        except* ZeroDivisionError as group:
            shown = "".join(traceback.format_exception(group))
    assert "inside" in shown
    clean(shown)
    clean(repr(client) + repr(loaded) + repr(backend))


def test_a_server_that_is_gone_costs_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    (tmp_path / "d.toml").write_text(dump(design(url, url)))
    with pytest.raises(SystemExit) as ended:
        main(["study", str(tmp_path / "d.toml"), "-o", str(tmp_path / "run")])
    assert ended.value.code == 1
    found = capsys.readouterr()
    assert "cannot be reached" in found.err
    clean(found.out + found.err + everything(tmp_path))


SECRET = "AbCdEf0123456789"
WRONG: dict[str, dict[str, Any]] = {
    "in the address": {"url": f"http://user:{SECRET}@127.0.0.1:9/v1"},
    "alone in the address": {"url": f"http://{SECRET}@127.0.0.1:9/v1"},
    "in the query": {"url": f"http://127.0.0.1:9/v1?api_key={SECRET}"},
    "in a broken address": {"url": f"http://user:{SECRET}@[::1/v1"},
    "in an address of odd letters": {"url": f"http://user:{SECRET}@ho\u2100st/v1"},
    "as the variable's name": {"url": "http://127.0.0.1:9/v1", "key_env": f"sk-{SECRET}"},
    "as a name of good form": {"url": "http://127.0.0.1:9/v1", "key_env": f"hf_{SECRET}{SECRET}"},
    "as a name of another form": {"url": "http://127.0.0.1:9/v1", "key_env": f"AIza{SECRET}{SECRET}"},
    "as the address's name": {"url_env": f"sk_{SECRET}{SECRET}"},
    "as a parameter": {"url": "http://127.0.0.1:9/v1", "api_key": SECRET},
    "as another parameter": {"url": "http://127.0.0.1:9/v1", "key": SECRET},
    "in the body": {"url": "http://127.0.0.1:9/v1", "extra": {"api_key": SECRET}},
    "deep in the body": {"url": "http://127.0.0.1:9/v1", "extra": {"headers": {"Authorization": f"Bearer {SECRET}"}}},
    "in a list in the body": {"url": "http://127.0.0.1:9/v1", "extra": {"more": [{"access_token": SECRET}]}},
}  # fmt: skip


@pytest.mark.parametrize("where", WRONG)
def test_a_key_in_a_design_by_mistake_is_refused_with_advice_and_not_repeated(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tomli_w

    table: dict[str, Any] = {
        "name": "x", "bases": ["base"], "checkpoints": [{"path": "tuned", "arm": "a"}],
        "benchmarks": [{"name": "miniature"}], "judges": [{"name": "refusal"}],
        "backend": {"name": "endpoint", **WRONG[where]},
    }  # fmt: skip
    judge = {**table, "backend": {"name": "endpoint", "url": "http://127.0.0.1:9/v1"}, "judges": [
        {"name": "rubric", "model": "m", "rubric": "sorry_bench", "backend": table["backend"]}]}  # fmt: skip
    for made in (table, judge):
        (tmp_path / "d.toml").write_text(tomli_w.dumps(made), encoding="utf-8")
        for command in ("plan", "study"):
            with pytest.raises(SystemExit) as ended:
                main(
                    [command, str(tmp_path / "d.toml"), *(["-o", str(tmp_path / "run")] if command == "study" else [])]
                )
            found = capsys.readouterr()
            assert ended.value.code == 2, found
            assert SECRET not in found.out + found.err
            assert "key" in found.err
            assert sorted(path.name for path in tmp_path.iterdir()) == ["d.toml"]
    if all(isinstance(value, str) for value in WRONG[where].values()):
        given = ",".join(f"{key}={value}" for key, value in WRONG[where].items())
        with pytest.raises(UsageError) as refused:
            plugin_text.plugin("backend", f"endpoint:{given}")
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("url", [f"http://user:{SECRET}@example.org", f"https://user:{SECRET}@example.org",
                                 f"https://example.org?key={SECRET}", f"ftp://x:{SECRET}@example.org"])  # fmt: skip
def test_perspective_repeats_no_address_with_a_secret(url: str) -> None:
    with pytest.raises(ValueError, match="url") as refused:
        Perspective(url=url)
    assert SECRET not in str(refused.value)


def test_a_key_that_is_no_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    from aftertune.asking.backends.endpoint import Endpoint

    for value in ("sk-secret\nX-Evil: 1", "sk-secr\u00e9t", "sk-secret\x00" if os.name == "nt" else "sk-\x07secret"):
        monkeypatch.setenv("A_KEY", value)
        with pytest.raises(UsageError, match="A_KEY holds no usable key") as refused:
            Endpoint(url="http://127.0.0.1:9/v1", key_env="A_KEY").client()
        assert "secr" not in str(refused.value)
    monkeypatch.setenv("AN_URL", f"http://user:{SECRET}@127.0.0.1:9")
    with pytest.raises(UsageError, match="AN_URL") as refused:
        Endpoint(url_env="AN_URL").client()
    assert SECRET not in str(refused.value)


def test_a_process_of_its_own_shows_no_key_in_its_worst_traceback(tmp_path: Path) -> None:
    """An error of nobody's making inside a cell, with Python in its development mode."""
    with serving(Scripted(say=answer, key=KEY)) as served:
        made = design(served.url, served.url)
        (tmp_path / "d.toml").write_text(dump(dataclasses.replace(made, judges=(PluginSpec("refusal"),))))
        code = (
            "import logging, sys; logging.basicConfig(level=logging.DEBUG)\n"
            "import aftertune.asking.backends._completions as r\n"
            "def boom(*_, **__): raise ZeroDivisionError('boom')\n"
            "import aftertune.asking.backends.endpoint as e; e._reply = boom\n"
            "from aftertune.cli import main; main(sys.argv[1:])"
        )
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore", "-c", code, "study", "d.toml", "-o", "run"], cwd=tmp_path,
            env={**os.environ, "A_KEY": KEY, "PYTHONFAULTHANDLER": "1"}, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
    assert "ZeroDivisionError" in done.stderr
    clean(done.stdout + done.stderr + everything(tmp_path))
    assert json.loads((tmp_path / "run" / "failure.json").read_text())["error"] == "ZeroDivisionError"
    assert status.status(tmp_path / "run")["last_failure"]
