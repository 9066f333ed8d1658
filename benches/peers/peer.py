"""What the peers in Python share: how they are called, when the clock runs, and how they answer.

A peer prints `ready VERSION` when it has loaded what it needs and has not read anything from Kafka yet, and
waits for a line on standard input: from then on its time is counted. It prints `done` when its answer is complete where it
keeps its answers, and waits for a line again: until then its time is counted. Then it writes the answer file,
one line for each account and day (UTC), separated by tabs:

    account_id  day  events  logins  users  {"feature":count,…}
"""

import argparse
import json
import sys


def arguments(description):
    """The flags that every peer takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--brokers", required=True, help="HOST:PORT of Kafka")
    parser.add_argument("--topic", required=True, help="the topic of usage events")
    parser.add_argument("--records", required=True, type=int, help="how many records the topic holds")
    parser.add_argument("--group", required=True, help="a consumer group that nobody has used")
    parser.add_argument("--answer", required=True, help="the file that takes the answer")
    parser.add_argument("--folder", required=True, help="an empty folder for what the peer keeps on disk")
    return parser


def ready(version):
    """All is loaded; returns when the clock runs."""
    _tell(f"ready {version}")


def done():
    """The answer is complete; returns when the clock has stopped."""
    _tell("done")


def _tell(word):
    print(word, flush=True)
    if not sys.stdin.readline():
        sys.exit("the runner is gone")


def write_answer(path, days):
    """`days` gives account, day, events, logins, users and the uses of features as a dict."""
    with open(path, "w", encoding="utf-8") as file:
        for account, day, events, logins, users, features in days:
            features = json.dumps(features, separators=(",", ":"))
            file.write(f"{account}\t{day}\t{events}\t{logins}\t{users}\t{features}\n")
