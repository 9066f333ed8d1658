"""Runs the README's first command as a newcomer would and looks at what comes of it.

It must build, come up, fill the page with the demo's customers, answer on ClickHouse's port, send a
webhook whose signature holds, and stop at Ctrl-C within five seconds. Exits 0 when all of that was
seen, 1 with what was not.
"""

import argparse
import functools
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

# What CI shows must be there when something hangs.
print = functools.partial(print, flush=True)

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECEIVER = ROOT / "tests" / "clients" / "webhook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BUILD_WITHIN = 1500
DATA_WITHIN = 180
STOP_WITHIN = 5


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def clickhouse(url, query):
    request = urllib.request.Request(f"{url}/?database=mimamori", data=query.encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode().strip()


def wait_for(what, seconds, look, process):
    """Calls `look` until it returns something true; what it raises counts as not yet."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"smoke: the command ended with {process.returncode} while waiting for {what}")
        try:
            found = look()
            if found:
                return found
        except (OSError, ValueError, KeyError) as error:
            last = error
        time.sleep(0.25)
    sys.exit(f"smoke: no {what} within {seconds} s (last: {last})")


def receiver_python():
    """A Python that has the receiver's requirements, in a folder under target/."""
    venv = ROOT / "target" / "venv-webhook"
    python = venv / "bin" / "python"
    requirements = RECEIVER / "requirements.txt"
    stamp = venv / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(requirements)], check=True)
        stamp.write_text(requirements.read_text())
    return str(python)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--command", required=True, help="the command of the README, such as 'cargo run --release -- up --demo'")
    command = shlex.split(arguments.parse_args().command)
    kafka, http, api, hook = (free_port() for _ in range(4))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        config = folder / "mimamori.toml"
        config.write_text(
            f"""
[[alert.destinations]]
name = "smoke"
kind = "webhook"
url = "http://127.0.0.1:{hook}/hooks"
secret = "{SECRET}"
allow_private_addresses = true
"""
        )
        webhooks = folder / "webhooks.jsonl"
        # Read through a handle of its own: one that is shared with the receiver would move where it writes.
        with open(webhooks, "w") as told:
            receiver = subprocess.Popen(
                [receiver_python(), str(RECEIVER / "receiver.py"), "--port", str(hook), "--secret", SECRET],
                stdout=told,
            )
        # Other ports than the README's, so that it can run beside a mimamori that is up.
        command += [
            "--config", str(config), "--data-dir", str(folder / "data"), "--kafka-listen", f"127.0.0.1:{kafka}",
            "--clickhouse-listen", f"127.0.0.1:{http}", "--api-listen", f"127.0.0.1:{api}",
        ]
        began = time.monotonic()
        log = open(folder / "log", "w+")
        # A group of its own, so that Ctrl-C reaches what cargo runs, as on a terminal.
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        passed = False
        try:
            page = f"http://127.0.0.1:{api}"
            engine = f"http://127.0.0.1:{http}"
            wait_for("page", BUILD_WITHIN, lambda: "mimamori" in get(page + "/"), process)
            up = time.monotonic()
            print(f"smoke: built and up after {up - began:.1f} s")

            def scored():
                listed = json.loads(get(page + "/api/v1/accounts?limit=500"))
                with_health = [account for account in listed["accounts"] if account["health"] is not None]
                return len(with_health) >= 100 and listed

            wait_for("hundred accounts with a health score", DATA_WITHIN, scored, process)
            print(f"smoke: the page has the demo's data {time.monotonic() - up:.1f} s after it came up")
            wait_for("ready", DATA_WITHIN, lambda: get(page + "/readyz"), process)

            def received():
                lines = webhooks.read_text().splitlines()
                return [json.loads(line) for line in lines if line.strip().startswith("{")]

            hooks = wait_for("webhook", DATA_WITHIN, received, process)
            first = hooks[0]
            print(f"smoke: {len(hooks)} webhooks received and verified, the first says {json.dumps(first, ensure_ascii=False)[:300]}")

            for table in ("events", "account_daily", "account_metrics", "account_scores", "alerts", "deliveries"):
                rows = int(clickhouse(engine, f"SELECT count() FROM {table}"))
                print(f"smoke: {table} has {rows} rows")
                assert rows > 0, f"{table} is empty"
            doubled = clickhouse(engine, "SELECT count() - uniqExact(account_id, event_id) FROM events")
            assert doubled == "0", f"{doubled} events are there twice"
            bands = clickhouse(engine, "SELECT groupUniqArray(band) FROM account_scores_latest")
            assert "green" in bands and "red" in bands, f"bands are {bands}"
            metrics = get(page + "/metrics")
            for name in ("mimamori_ingest_events_total", "mimamori_consumer_lag", "mimamori_event_to_score_seconds", "mimamori_deliveries_total"):
                assert name in metrics, f"/metrics has no {name}"

            asked = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(timeout=STOP_WITHIN)
            print(f"smoke: stopped {time.monotonic() - asked:.1f} s after Ctrl-C with {code}")
            passed = True
        except (AssertionError, subprocess.TimeoutExpired) as error:
            print(f"smoke: {error}")
        finally:
            if not passed:
                log.flush()
                log.seek(0)
                print("".join(log.readlines()[-60:]))
            for child in (process, receiver):
                if child.poll() is None:
                    child.kill()
                    child.wait()
    if not passed:
        sys.exit(1)
    print("smoke: passed")


if __name__ == "__main__":
    main()
