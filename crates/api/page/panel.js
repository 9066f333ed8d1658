// The side panel: everything about one account.

import { OpenAlerts } from "./alerts.js";
import { historyChart } from "./chart.js";
import { bandPill, element, meter } from "./list.js";
import { Receipt } from "./receipt.js";
import * as words from "./words.js";

const { t } = words;

const RANGES = [30, 90, 365];
const EVENTS_SHOWN = 30;
const ALERTS_SHOWN = 10;
const DRIVERS_SHOWN = 8;
const DAY = 86_400_000;
/** The scores that have drivers, in the order in which they are shown. */
const DRIVEN = ["health", "churn_risk", "expansion"];
const ARROWS = { up: "↑", down: "↓", level: "→" };

/** Draws an account into `frame`; `ask` fetches a path of the API, `act` posts to one, `closed` is told when
 * it closes. */
export class Panel {
  constructor(frame, ask, act, closed) {
    this.frame = frame;
    this.ask = ask;
    this.act = act;
    this.closed = closed;
    this.id = null;
    this.range = 90;
    this.parts = null;
    this.receipt = null;
    this.alerts = null;
    this.facts = null;
    this.drawn = "";
    frame.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.close();
      }
    });
  }

  async open(id) {
    const isNew = id !== this.id;
    this.id = id;
    if (isNew) {
      this.facts = null;
      this.drawn = "";
      this.#lay();
      this.frame.hidden = false;
      document.body.classList.add("with-panel");
      this.frame.scrollTop = 0;
      this.frame.focus({ preventScroll: true });
    }
    await this.refresh();
  }

  close() {
    if (this.id == null) {
      return;
    }
    const id = this.id;
    this.id = null;
    this.receipt?.drop();
    this.frame.hidden = true;
    document.body.classList.remove("with-panel");
    this.closed(id);
  }

  /** Asks again; what follows from an evaluation is asked for only when there is a new one. */
  async refresh() {
    const id = this.id;
    if (id == null) {
      return;
    }
    const base = `/api/v1/accounts/${encodeURIComponent(id)}`;
    const detail = await this.ask(base, { missing: true });
    if (id !== this.id) {
      return;
    }
    if (detail == null) {
      this.parts.body.replaceChildren(element("p", "empty", t("gone")));
      return;
    }
    await this.alerts.refresh(id);
    if (id !== this.id) {
      return;
    }
    const evaluated = detail.scores?.evaluated_at;
    const isCurrent = this.facts && this.facts.detail.scores?.evaluated_at === evaluated && this.facts.range === this.range;
    const follow = isCurrent ? this.facts : await this.#follow(base, id, evaluated);
    if (id !== this.id) {
      return;
    }
    this.facts = { ...follow, detail };
    this.#draw();
  }

  redraw() {
    if (this.id != null) {
      this.#lay();
      this.drawn = "";
      if (this.facts) {
        this.#draw();
      }
    }
  }

  async #follow(base, id, evaluated) {
    const range = this.range;
    const step = range <= 30 ? "hour" : "day";
    const until = evaluated == null ? Date.now() : Date.parse(evaluated);
    const from = new Date(until - range * DAY).toISOString();
    const [scores, timeline, alerts] = await Promise.all([
      this.ask(`${base}/scores?step=${step}&limit=500&from=${from}`),
      this.ask(`${base}/timeline?limit=${EVENTS_SHOWN}`),
      this.ask(`/api/v1/alerts?limit=${ALERTS_SHOWN}&account_id=${encodeURIComponent(id)}`),
    ]);
    return {
      range,
      scores: (scores?.scores ?? []).toReversed(),
      events: timeline?.events ?? [],
      alerts: alerts?.alerts ?? [],
    };
  }

  #lay() {
    const title = element("h2", "panel-title", this.id);
    title.id = "panel-title";
    const sub = element("p", "sub");
    const close = element("button", "quiet close", "✕");
    close.type = "button";
    close.title = t("close");
    close.setAttribute("aria-label", t("close"));
    close.addEventListener("click", () => this.close());
    const pill = element("span");
    const body = element("div", "panel-body", element("p", "empty", t("loading")));
    const head = element("header", "panel-head", pill, element("div", "panel-names", title, sub), close);
    this.parts = { title, sub, pill, body };
    this.receipt?.drop();
    this.receipt = new Receipt(this.ask, this.id);
    this.alerts = new OpenAlerts(this.ask, this.act);
    this.alerts.element.hidden = true;
    this.frame.replaceChildren(head, this.alerts.element, body, this.receipt.element);
  }

  #draw() {
    const { detail, scores, events, alerts } = this.facts;
    const drawn = JSON.stringify([detail, scores.length, events[0]?.event_id, alerts[0]?.alert_id, this.range]);
    if (drawn === this.drawn) {
      return;
    }
    this.drawn = drawn;
    const { account } = detail;
    this.parts.title.textContent = account.name ?? account.account_id;
    const evaluated = detail.scores ? t("evaluated", { time: words.moment(detail.scores.evaluated_at) }) : null;
    this.parts.sub.textContent = [account.name ? account.account_id : null, evaluated].filter(Boolean).join(" · ");
    this.parts.pill.replaceChildren(bandPill(detail.scores?.band ?? "unknown", detail.scores?.health));
    const isOpen = this.parts.body.querySelector(".numbers")?.open ?? false;
    const focused = document.activeElement?.dataset?.range;
    this.parts.body.replaceChildren(
      scoreTiles(detail.scores),
      this.#history(scores),
      driverSection(detail),
      ...(alerts.length > 0 ? [alertSection(alerts)] : []),
      ...(detail.milestones.length > 0 ? [milestoneSection(detail.milestones)] : []),
      ...(account.stage_history.length > 0 ? [stageSection(account.stage_history)] : []),
      factSection(account),
      ...(detail.metrics ? [numberSection(detail.metrics, account.currency, isOpen)] : []),
      eventSection(events),
    );
    if (focused) {
      this.parts.body.querySelector(`[data-range="${focused}"]`)?.focus();
    }
  }

  #history(scores) {
    const ranges = element("div", "ranges");
    ranges.setAttribute("role", "group");
    ranges.setAttribute("aria-label", t("history"));
    for (const days of RANGES) {
      const button = element("button", "quiet", t("range_days", { n: words.whole(days) }));
      button.type = "button";
      button.dataset.range = days;
      button.setAttribute("aria-pressed", String(days === this.range));
      button.addEventListener("click", () => {
        this.range = days;
        this.refresh();
      });
      ranges.append(button);
    }
    const legend = element(
      "p",
      "legend",
      element("span", "key health", t("chart_health")),
      element("span", "key risk", t("chart_risk")),
    );
    const part = section("history", element("div", "history-head", legend, ranges));
    const known = scores.filter((score) => score.health != null);
    if (known.length === 0) {
      part.append(element("p", "empty", t("history_none")));
    } else {
      part.append(historyChart(scores, chartText(known)));
    }
    return part;
  }
}

function chartText(known) {
  const values = known.map((score) => score.health);
  return t("chart_text", {
    first: words.whole(values[0]),
    last: words.whole(values.at(-1)),
    from: words.date(known[0].evaluated_at),
    to: words.date(known.at(-1).evaluated_at),
    low: words.whole(Math.min(...values)),
    high: words.whole(Math.max(...values)),
  });
}

function section(title, ...children) {
  return element("section", `part part-${title}`, element("h3", "", t(title)), ...children);
}

function scoreTiles(scores) {
  const tiles = element("dl", "tiles");
  const add = (key, shown) => tiles.append(element("div", "", element("dt", "", t(`score_${key}`)), element("dd", "", shown)));
  add("churn_risk", element("b", "", words.percent(scores?.churn_risk)));
  for (const key of ["activity", "adoption", "ttv", "sentiment", "support", "expansion"]) {
    add(key, meter(scores?.[key]));
  }
  add("confidence", element("b", "", words.percent(scores?.confidence)));
  return tiles;
}

/** What moved the scores: bars to the right help, bars to the left hurt. */
function driverSection({ drivers, metrics, account }) {
  const part = section("drivers");
  const kinds = [...new Set(drivers.map((driver) => driver.score))];
  kinds.sort((one, other) => DRIVEN.indexOf(one) - DRIVEN.indexOf(other));
  for (const kind of kinds) {
    const own = drivers.filter((driver) => driver.score === kind && driver.effect !== "none");
    if (own.length === 0) {
      continue;
    }
    own.sort((one, other) => Math.abs(other.points) - Math.abs(one.points));
    const strongest = Math.abs(own[0].points);
    const isRisk = kind === "churn_risk";
    part.append(
      element(
        "h4",
        "",
        words.named("drivers", kind),
        element("span", "sub", isRisk ? t("drivers_churn_risk_unit") : t("drivers_health_unit")),
      ),
      element("ul", "drivers", ...own.slice(0, DRIVERS_SHOWN).map((driver) => driverBar(driver, strongest, usual(driver, metrics, account)))),
    );
  }
  if (part.childElementCount === 1) {
    part.append(element("p", "empty", t("drivers_none")));
  }
  return part;
}

/** What is usual for the account, as people write it; null where nothing is. */
function usual(driver, metrics, account) {
  if (driver.baseline == null) {
    return null;
  }
  const unit = metrics?.[driver.input]?.unit;
  return t("usual", { n: numberText({ value: driver.baseline, unit }, account.currency) });
}

function driverBar(driver, strongest, usualText) {
  const isGood = driver.effect === "good";
  const amount = driver.score === "churn_risk"
    ? t("odds", { n: words.factor(Math.exp(driver.points)) })
    : t("points", { n: words.signedDecimal(driver.points) });
  const bar = element("span", `bar ${driver.effect}`);
  bar.style.width = `${(Math.abs(driver.points) / strongest) * 50}%`;
  const track = element("span", "track", bar);
  track.setAttribute("aria-hidden", "true");
  const verdict = element("span", "hidden", ` (${t(isGood ? "helps" : "hurts")})`);
  const text = element("span", "driver-text", words.said(driver.sentence), verdict);
  text.title = words.said(driver.label);
  if (usualText != null) {
    const arrow = element("span", "usual", ARROWS[driver.direction] ?? "");
    arrow.setAttribute("aria-hidden", "true");
    arrow.title = usualText;
    text.append(arrow, element("span", "hidden", ` (${usualText})`));
  }
  return element("li", "", text, element("span", `driver-points ${driver.effect}`, amount), track);
}

function alertSection(alerts) {
  const list = element("ul", "alerts");
  for (const alert of alerts) {
    const time = element("time", "sub", words.moment(alert.at));
    time.dateTime = alert.at;
    const badge = element("span", `badge ${alert.severity} ${alert.change}`, words.named("alert", alert.change));
    list.append(element("li", "", badge, element("span", "alert-text", words.said(alert.reason)), time));
  }
  return section("alerts", list);
}

/** Every configured milestone: how long the step took, or has been taking. */
function milestoneSection(milestones) {
  const list = element("ol", "milestones");
  for (const milestone of milestones) {
    const badge = element("span", `badge ${milestone.state}`, words.named("onboarding", milestone.state));
    const n = words.oneDecimal(milestone.dwell_days);
    const dwell = milestone.dwell_days == null ? "" : t(milestone.reached_at ? "dwell_took" : "dwell_waits", { n });
    const reached = element("span", "sub", milestone.reached_at ? words.date(milestone.reached_at) : "");
    list.append(element("li", "", badge, element("span", "milestone-name", milestone.name), element("span", "sub", dwell), reached));
  }
  return section("milestones", list);
}

/** Every stage so far, the newest first, with how long it lasted. */
function stageSection(history) {
  const list = element("ol", "stages");
  for (const { stage, entered_at, left_at } of history.toReversed()) {
    const days = (Date.parse(left_at ?? new Date().toISOString()) - Date.parse(entered_at)) / DAY;
    const span = left_at ? t("stage_lasted", { from: words.date(entered_at), to: words.date(left_at) }) : t("stage_since", { from: words.date(entered_at) });
    const name = element("span", left_at ? "stage-name" : "stage-name now", words.named("stage", stage));
    list.append(element("li", "", name, element("span", "sub", span), element("span", "sub", t("days", { n: words.whole(days) }))));
  }
  return section("stages", list);
}

function factSection(account) {
  const list = element("dl", "facts");
  const add = (key, value) => {
    if (value != null && value !== "") {
      list.append(element("div", "", element("dt", "", t(key)), element("dd", "", value)));
    }
  };
  add("stage", account.stage && words.named("stage", account.stage));
  add("tier", account.tier && words.named("tier", account.tier));
  add("owner", account.owner);
  add("plan", account.plan);
  add("segment", account.segment);
  add("col_mrr", account.mrr == null ? null : words.money(account.mrr, account.currency));
  add("seats", account.seats == null ? null : words.whole(account.seats));
  add("started", account.started_at && words.date(account.started_at));
  add("contract_end", account.contract_ends_at && words.date(account.contract_ends_at));
  add("timezone", account.timezone);
  return section("facts", list);
}

function numberSection(metrics, currency, isOpen) {
  const list = element("dl", "numbers-list");
  for (const [, number] of Object.entries(metrics)) {
    const shown = numberText(number, currency);
    const value = element("dd", number.value == null ? "not-known" : "", shown);
    list.append(element("div", "", element("dt", "", words.said(number.label)), value));
  }
  const details = element("details", "numbers", element("summary", "", t("numbers")), list);
  details.open = isOpen;
  return element("section", "part part-numbers", details);
}

function numberText({ value, unit }, currency) {
  if (value == null) {
    return t("unknown");
  }
  if (Array.isArray(value)) {
    return value.length === 0 ? t("none") : value.join(", ");
  }
  switch (unit) {
    case "ratio":
      return words.percent(value);
    case "days":
      return t("days", { n: words.oneDecimal(value) });
    case "money":
      return words.money(value, currency);
    case "workdays":
      return t("workdays", { n: words.oneDecimal(value) });
    case "sigmas":
      return t("sigmas", { n: words.signedDecimal(value) });
    case "state":
      return words.named("onboarding", value);
    case "uses_per_user":
    case "logins_per_user":
      return t("per_user", { n: words.oneDecimal(value) });
    default:
      return words.oneDecimal(value);
  }
}

function eventSection(events) {
  if (events.length === 0) {
    return section("events", element("p", "empty", t("events_none")));
  }
  const list = element("ol", "events");
  for (const event of events) {
    const time = element("time", "sub", words.moment(event.occurred_at));
    time.dateTime = event.occurred_at;
    const kind = element("span", `kind ${event.type}`, words.named("event", event.type));
    const name = element("span", "event-name", event.name ?? "");
    list.append(element("li", "", time, kind, name, element("span", "sub event-user", event.user_id ?? "")));
  }
  return section("events", list);
}
