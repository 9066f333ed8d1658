"""The events that each client sends, in every format, with keys right, wrong and absent."""

import json
import time

TOPIC = "usage.events"
PER_COMBINATION = 30
NOW_MS = int(time.time() * 1000)
NOW = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def records(label):
    """Tuples of key, value and headers; the id of each event begins with the label."""
    for number in range(PER_COMBINATION):
        account, event_id = f"acme-{number % 7}", f"{label}-{number}"
        key = [account.encode(), b"not the account", None][number % 3]
        cloud = {"specversion": "1.0", "id": event_id, "source": "/app", "type": "login", "subject": account, "time": NOW}
        match number // 3 % 5:
            case 0:
                value, headers = native(event_id, account), []
            case 1:
                value, headers = {**cloud, "data": {"user_id": "u"}}, []
            case 2:
                value, headers = cloud, [("content-type", b"application/cloudevents+json; charset=UTF-8")]
            case 3:
                value = {"user_id": "u", "rows": 3}
                headers = [(f"ce_{name}", text.encode()) for name, text in cloud.items()]
                headers.append(("content-type", b"application/json"))
            case 4:
                value, headers = segment(event_id, account), []
        yield key, json.dumps(value).encode(), headers


def native(event_id, account):
    return {"event_id": event_id, "account_id": account, "type": "login", "occurred_at": NOW_MS}


def segment(event_id, account):
    return {"type": "track", "event": "Signed In", "messageId": event_id, "userId": "u", "context": {"groupId": account}}
