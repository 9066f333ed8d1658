"""Receives webhooks and checks their signatures with the `standardwebhooks` package.

First prints `listening on 127.0.0.1:PORT`, then one line of JSON for each verified webhook:
`{"id": ..., "timestamp": ..., "path": ..., "headers": {...}, "body": {...}}`. Answers 400 and
prints nothing when the signature does not hold.
"""

import argparse
import itertools
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

LARGEST_BODY = 1 << 20


def handler(webhook, fail_first):
    requests = itertools.count()
    output = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # A sender that stops in mid-request does not keep its thread.
        timeout = 30

        def do_POST(self):
            length = int(self.headers.get("content-length", 0))
            if length > LARGEST_BODY:
                self.close_connection = True
                return self.answer(413, "too large")
            body = self.rfile.read(length)
            if next(requests) < fail_first:
                return self.answer(500, "failing as asked")
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                verified = webhook.verify(body, headers)
            except (WebhookVerificationError, ValueError) as error:
                return self.answer(400, f"{type(error).__name__}: {error}")
            line = {
                "id": headers["webhook-id"],
                "timestamp": int(headers["webhook-timestamp"]),
                "path": self.path,
                "headers": headers,
                "body": verified,
            }
            with output:
                print(json.dumps(line, ensure_ascii=False), flush=True)
            self.answer(204, "")

        def answer(self, status, text):
            content = text.encode()
            self.send_response(status)
            if status != 204:
                self.send_header("content-type", "text/plain; charset=utf-8")
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


class Server(ThreadingHTTPServer):
    request_queue_size = 128


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    arguments.add_argument("--secret", required=True, help="whsec_ and base64")
    arguments.add_argument("--fail-first", type=int, default=0, metavar="N", help="answer 500 to the first N requests")
    given = arguments.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    server = Server(("127.0.0.1", given.port), handler(Webhook(given.secret), given.fail_first))
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
