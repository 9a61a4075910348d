"""A stand-in for the command `vllm`: speaks the routes that aftertune asks, and misbehaves as `STAND_IN` (JSON) says.

Its words are hashes of the weights' files, of the prompt's tokens and of the seed, so that another model, another
adapter or another prompt gives other words. With `real` it answers greedily with the model itself, by transformers.
What it was given is written to the folder `STAND_IN_SEEN`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOW: dict[str, Any] = json.loads(os.environ.get("STAND_IN", "{}"))
SEEN = Path(os.environ.get("STAND_IN_SEEN", "/nowhere"))
OOM = (
    "(EngineCore_DP0 pid=7) ERROR 01-01 00:00:00 [core.py:1] torch.OutOfMemoryError: CUDA out of memory. Tried to "
    "allocate 3.00 GiB.\n(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above."
)


def note(name: str, value: object) -> None:
    if SEEN.is_dir():
        with (SEEN / name).open("a") as file:
            file.write(json.dumps(value) + "\n")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def words_of(arguments: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"model": arguments[0]}
    name = ""
    for word in arguments[1:]:
        if word.startswith("--"):
            name = word[2:]
            found[name] = True
        else:
            found[name] = word if found[name] is True else f"{found[name]} {word}"
    return found


class Model:
    """Base and adapters by their files."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.base = given, str(given["served-model-name"])
        self.adapters: dict[str, str] = {}
        self.lock = threading.Lock()
        self.asked = 0
        self.random = random.Random(0)
        self.real: Any = None
        if HOW.get("real"):
            from transformers import AutoModelForCausalLM

            self.real = AutoModelForCausalLM.from_pretrained(given["model"])

    def load(self, name: str, path: str) -> str:
        rank = json.loads(Path(path, "adapter_config.json").read_text())["r"]
        if "enable-lora" not in self.given:
            return "LoRA is not enabled"
        if rank > int(self.given["max-lora-rank"]):
            return f"LoRA rank {rank} is greater than max_lora_rank {self.given['max-lora-rank']}."
        if HOW.get("refuse_adapters"):
            return "expected target modules but received ['mlp.strange']"
        if HOW.get("leaves_out"):
            say("WARNING [x.py:1] LoRA module mlp.strange will be ignored.")
        if self.real is not None:
            from peft import PeftModel

            if not self.adapters:
                self.real = PeftModel.from_pretrained(self.real, path, adapter_name=name)
            else:
                self.real.load_adapter(path, adapter_name=name)
        self.adapters[name] = path
        return ""

    def mark(self, name: str) -> str:
        """What stands for the weights that answer."""
        files = sorted(Path(self.given["model"]).glob("model*.safetensors"))
        if name in self.adapters and not HOW.get("ignores_adapters"):
            files += [Path(self.adapters[name]) / "adapter_model.safetensors"]
            if HOW.get("one_adapter"):
                files[-1] = Path(next(iter(self.adapters.values()))) / "adapter_model.safetensors"
        return "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)

    def logits(self, name: str, ids: list[int]) -> Any:
        import contextlib

        import torch

        with torch.inference_mode(), contextlib.ExitStack() as stack:
            if name in self.adapters:
                self.real.set_adapter(name)
            elif self.adapters:
                stack.enter_context(self.real.disable_adapter())
            return self.real(input_ids=torch.tensor([ids])).logits[0].float()

    def logprob(self, name: str, ids: list[int], at: int) -> float:
        if self.real is not None:
            return float(self.logits(name, ids)[at - 1].log_softmax(-1)[ids[at]])
        number = int(hashlib.sha256(f"{self.mark(name)} {ids[: at + 1]}".encode()).hexdigest()[:8], 16)
        return -number / 2**32 * 10 - self.random.random() * float(HOW.get("noise", 0.0))

    def write(self, body: dict[str, Any]) -> tuple[list[int], str]:
        ids, stop, most = body["prompt"], body["stop_token_ids"], body["max_tokens"]
        if self.real is not None and not body["temperature"]:
            new: list[int] = []
            while len(new) < most:
                new.append(int(self.logits(body["model"], ids + new)[-1].argmax()))
                if new[-1] in stop:
                    return new, "stop"
            return new, "length"
        seed = f"{body['seed']} {body['temperature']}" if body["temperature"] else ""
        digest = hashlib.sha256(f"{self.mark(body['model'])} {ids} {seed}".encode()).digest()
        planned = HOW.get("tokens") or [30 + byte for byte in digest[: 3 + digest[0] % 9]]
        planned = [*planned, stop[0]] if stop else planned
        return planned[:most], "stop" if len(planned) <= most else "length"


def handler(model: Model) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            pass

        def send(self, code: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def allowed(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {os.environ.get('VLLM_API_KEY')}":
                return True
            self.send(401, {"error": "Unauthorized"})
            return False

        def do_GET(self) -> None:
            if self.path == "/health":
                return self.send(200, {})
            if self.path == "/v1/models" and self.allowed():
                base = {"id": model.base, "root": model.given["model"], "parent": None, "max_model_len": 512}
                rows = [{"id": n, "root": p, "parent": model.base} for n, p in model.adapters.items()]
                return self.send(200, {"object": "list", "data": [base, *rows]})
            return None

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.allowed():
                return None
            with model.lock:
                return self.reply(body)

        def reply(self, body: dict[str, Any]) -> None:
            if self.path == "/v1/load_lora_adapter":
                why = model.load(body["lora_name"], body["lora_path"])
                return self.send(400 if why else 200, {"error": {"message": why}} if why else "Success")
            if body["model"] not in (model.base, *model.adapters):
                return self.send(404, {"error": {"message": "no such model"}})
            model.asked += 1
            if "prompt_logprobs" not in body and body["max_tokens"] != 24:
                note("asked", body)
            if model.asked == HOW.get("dies_at"):
                say(OOM)
                os._exit(1)
            time.sleep(HOW.get("answer_s", 0.0))
            ids = body["prompt"]
            tokens, finish = model.write(body)
            choice = {"index": 0, "text": "", "finish_reason": finish, "token_ids": tokens, "prompt_token_ids": ids}
            if HOW.get("reads"):
                choice["prompt_token_ids"] = ids[:-1] if HOW["reads"] == "other" else None
            if "prompt_logprobs" in body:
                values = [model.logprob(body["model"], ids, at) for at in range(1, len(ids))]
                choice["prompt_logprobs"] = [
                    None,
                    *({str(id_): {"logprob": value, "rank": 1}} for id_, value in zip(ids[1:], values, strict=True)),
                ]
            usage = {"prompt_tokens": len(ids), "completion_tokens": len(tokens)}
            return self.send(200, {"model": body["model"], "choices": [choice], "usage": usage})

    return Handler


def serve(arguments: list[str]) -> None:
    given = words_of(arguments)
    environment = {
        k: v for k, v in os.environ.items() if k.startswith(("VLLM_", "HF_", "DO_NOT")) or "proxy" in k.lower()
    }
    note("started", {"pid": os.getpid(), "given": given, "environment": environment, "words": sys.argv[1:]})
    starts = len((SEEN / "started").read_text().splitlines()) if SEEN.is_dir() else 1
    if HOW.get("leaves_processes"):
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        for apart in (False, True):
            child = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=apart)
            note("children", child.pid)
    say("INFO starting")
    if HOW.get("dies") == "oom":
        say(OOM)
        os._exit(1)
    if HOW.get("dies") == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if starts <= HOW.get("taken", 0):  # somebody else took the port in between
        say("OSError: [Errno 98] Address already in use")
        os._exit(1)
    listener.bind((given["host"], int(given["port"])))
    time.sleep(HOW.get("start_s", 0.0))
    server = ThreadingHTTPServer((given["host"], int(given["port"])), handler(Model(given)), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads = True
    server.server_activate()
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        say("INFO 01-01 00:00:00 [__init__.py:1] Automatically detected platform cuda.")
        say(HOW.get("release", "0.33.0"))
    else:
        serve(sys.argv[2:])
