"""Pathway: tables over the topic, grouped by event id, then by account and day, and by feature.

The topic is read to its end and then the run is over (`static`), which spares it all intermediate results.
"""

from importlib.metadata import version

import pathway as pw

import peer


class Event(pw.Schema):
    event_id: str
    account_id: str
    user_id: str
    name: str
    occurred_at: str


def main():
    options = peer.arguments(__doc__).parse_args()
    settings = {
        "bootstrap.servers": options.brokers,
        "group.id": options.group,
        "auto.offset.reset": "earliest",
    }

    peer.ready(version("pathway"))
    events = pw.io.kafka.read(settings, options.topic, schema=Event, format="json", mode="static")
    once = events.groupby(pw.this.account_id, pw.this.event_id).reduce(
        pw.this.account_id,
        user_id=pw.reducers.any(pw.this.user_id),
        name=pw.reducers.any(pw.this.name),
        day=pw.reducers.any(pw.this.occurred_at.str.slice(0, 10)),
    )
    days = once.groupby(pw.this.account_id, pw.this.day).reduce(
        pw.this.account_id,
        pw.this.day,
        events=pw.reducers.count(),
        users=pw.reducers.count_distinct(pw.this.user_id),
    )
    uses = once.groupby(pw.this.account_id, pw.this.day, pw.this.name).reduce(
        pw.this.account_id,
        pw.this.day,
        pw.this.name,
        count=pw.reducers.count(),
    )
    kept_days, kept_uses = {}, {}

    def keep_day(key, row, time, is_addition):
        if is_addition:
            kept_days[row["account_id"], row["day"]] = row["events"], row["users"]

    def keep_uses(key, row, time, is_addition):
        if is_addition:
            kept_uses.setdefault((row["account_id"], row["day"]), {})[row["name"]] = row["count"]

    pw.io.subscribe(days, keep_day)
    pw.io.subscribe(uses, keep_uses)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    peer.done()

    def answer():
        for (account, day), (events, users) in kept_days.items():
            features = kept_uses[account, day]
            yield account, day, events, features.pop("login", 0), users, features

    peer.write_answer(options.answer, answer())


if __name__ == "__main__":
    main()
