"""Sends with Segment's own Python SDK, and prints the ids of what it sent, a JSON array.

Usage: segment_sdk.py URL WRITE_KEY COUNT
"""

import json
import sys

from segment.analytics import Client

url, write_key, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
failed = []
client = Client(
    write_key,
    host=url,
    gzip=True,
    max_queue_size=100_000,
    max_retries=20,
    upload_size=50,
    upload_interval=0.1,
    on_error=lambda error, items: failed.append(repr(error)),
)
sent = []
context = {"groupId": "acme-py"}
for number in range(count):
    user = f"u{number % 7}"
    match number % 5:
        case 0:
            told = client.identify(user, {"role": "admin"}, context=context)
        case 1:
            told = client.group(user, "acme-py", {"name": "Acme", "plan": "pro"})
        case 2:
            told = client.page(user, "Docs", "Home", context=context)
        case 3:
            told = client.screen(user, "App", "Start", context=context)
        case _:
            told = client.track(user, "Report Exported", {"count": 1}, context=context)
    accepted, message = told
    assert accepted, "the queue of the SDK is full"
    sent.append(message["messageId"])
client.flush()
client.join()
assert not failed, failed
print(json.dumps(sent))
