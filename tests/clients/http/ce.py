"""Sends with the CloudEvents package in all three modes, and prints the ids of what it sent.

Usage: ce.py URL WRITE_KEY COUNT
"""

import json
import sys
from datetime import datetime, timezone

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

url, write_key, count = sys.argv[1] + "/v1/events", sys.argv[2], int(sys.argv[3])
session = requests.Session()
session.headers["authorization"] = f"Bearer {write_key}"


def event(event_id):
    attributes = {
        "id": event_id,
        "source": "/product/app",
        "type": "com.acme.report.exported",
        "subject": "見守り 株式会社",
        "time": datetime.now(timezone.utc),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes=attributes, data={"user_id": "u-17", "rows": 120})


def post(headers, body):
    answer = session.post(url, headers=headers, data=body, timeout=60)
    assert answer.status_code == 200, (answer.status_code, answer.text)
    return answer.json()


sent = []
for number in range(count):
    binary = to_binary_event(event(f"binary-{number}"))
    assert post(binary.headers, binary.body)["accepted"] == 1
    structured = to_structured_event(event(f"structured-{number}"))
    assert post(structured.headers, structured.body)["accepted"] == 1
    sent += [f"binary-{number}", f"structured-{number}"]
ids = [f"batch-{number}" for number in range(count)]
batch = [json.loads(to_structured_event(event(event_id)).body) for event_id in ids]
answer = post({"content-type": "application/cloudevents-batch+json"}, json.dumps(batch))
assert answer["accepted"] == count, answer
print(json.dumps(sent + ids))
