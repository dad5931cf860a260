"""A stand-in for Ollama that holds memory of the stand-in for NVML: `ollama.py DIRECTORY MIB`.

It loads a model when it starts and whenever it is asked for an answer, and unloads it on `keep_alive: 0`. Files in the
directory say how it errs: with `stubborn` it says that it unloads and does not, with `failing` it answers 500, and with `slow`
it answers when that file is gone.
"""

import fcntl
import http.server
import json
import os
import pathlib
import signal
import sys
import time

HERE, BYTES = pathlib.Path(sys.argv[1]), int(sys.argv[2]) << 20
OWN = f"compute_process {os.getpid()} {BYTES}"


def change(loaded):
    """Loads or unloads the model, and writes down whether all that is loaded then still fits."""
    with open(HERE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = [it for it in (HERE / "cards").read_text().splitlines() if it != OWN] + [OWN] * loaded
        (HERE / "cards.new").write_text("".join(f"{it}\n" for it in lines))
        (HERE / "cards.new").rename(HERE / "cards")
        value = {it.split()[0]: int(it.split()[1]) for it in lines if it.startswith(("total", "reserved"))}
        used = sum(int(it.split()[2]) for it in lines if "_process" in it)
        if loaded:
            fits = used <= value["total"] - value["reserved"]
            with open(HERE / "accounting", "a") as accounting:
                accounting.write(f"{'fits' if fits else 'overflow'} ollama\n")


def is_loaded():
    return OWN in (HERE / "cards").read_text().splitlines()


class Ollama(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, {"models": [{"name": "llama3.2:3b", "size_vram": BYTES}] if is_loaded() else []})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked.get("keep_alive") != 0:
            change(True)
            return self.answer(200, {"done": True, "response": "yes"})
        with open(HERE / "asked", "a") as told:
            told.write(f"{self.path} {asked['model']}\n")
        while (HERE / "slow").exists():
            time.sleep(0.02)
        if (HERE / "failing").exists():
            return self.answer(500, {"error": "no"})
        if not (HERE / "stubborn").exists():
            change(False)
        self.answer(200, {"done": True, "done_reason": "unload"})


def end(*_):
    change(False)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
change(True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ollama)
(HERE / "address.new").write_text(f"http://127.0.0.1:{server.server_address[1]}")
(HERE / "address.new").rename(HERE / "address")
print("listening", flush=True)
server.serve_forever()
