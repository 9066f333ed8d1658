// Whether telling helped: rule by rule, what became of told and of held-out accounts, with the intervals
// and with what speaks against believing them. Asked for only while the reader has it open.

import { svg } from "./chart.js";
import { element } from "./list.js";
import { clock, moment, named, percent, said, signed, signedDecimal, t, whole } from "./words.js";

const DAYS = ["7", "30", "60"];
const ARMS = ["told", "held_out", "shadow", "nobody"];
const MEASURES = ["recovered", "retained", "health_change"];
/** Warnings under which no difference is called more than chance, whatever its interval. */
const DOUBTS = ["few_accounts", "few_events", "missed"];
const WIDTH = 150;
const HEIGHT = 16;
const EDGE = 5;
/** Least points of health, and of percent, that a bar spans to each side of 0. */
const LEAST_HEALTH = 10;
const LEAST_DIFFERENCE = 0.2;

export class Outcome {
  /** `ask` gives the API's answer at a path; `failed` is told what went wrong. */
  constructor(frame, ask, failed) {
    this.frame = frame;
    this.ask = ask;
    this.failed = failed;
    this.days = "30";
    this.answer = null;
    this.turn = 0;
    this.choices = frame.querySelector(".outcome-days");
    this.rules = frame.querySelector(".outcome-rules");
    this.state = frame.querySelector(".outcome-state");
    frame.addEventListener("toggle", () => {
      if (frame.open) {
        this.refresh();
      }
    });
    for (const days of DAYS) {
      const button = element("button", "quiet");
      button.type = "button";
      button.dataset.days = days;
      button.addEventListener("click", () => {
        this.days = days;
        this.refresh();
      });
      this.choices.append(button);
    }
  }

  async refresh() {
    const mine = ++this.turn;
    this.#drawChoices();
    this.state.textContent = t("loading");
    try {
      const answer = await this.ask(`/api/v1/alerts/outcome?days=${this.days}`);
      if (mine === this.turn) {
        this.answer = answer;
        this.redraw();
      }
    } catch (error) {
      if (mine === this.turn) {
        this.state.textContent = t("outcome_failed", { time: clock(new Date()) });
        this.failed(error);
      }
    }
  }

  redraw() {
    this.#drawChoices();
    const { answer } = this;
    if (!answer) {
      return;
    }
    const isEmpty = answer.rules.length === 0;
    this.state.textContent = isEmpty
      ? t("outcome_none")
      : t("outcome_until", { days: whole(answer.days), time: moment(answer.known_until) });
    const compared = (rule) => (rule.differences.some(({ against }) => against.arm === "held_out") ? 0 : 1);
    const ordered = answer.rules.toSorted((one, other) => compared(one) - compared(other));
    this.rules.replaceChildren(...warnings(answer.warnings), ...ordered.map(ruleCard));
  }

  #drawChoices() {
    for (const button of this.choices.children) {
      button.textContent = t("outcome_days", { n: whole(Number(button.dataset.days)) });
      button.setAttribute("aria-pressed", String(button.dataset.days === this.days));
    }
  }
}

function ruleCard(rule) {
  const title = element("h3", "", element("code", "", rule.rule));
  title.append(element("span", "sub", ` ${t(`outcome_${rule.kind}`)}`));
  const spans = spansOf(rule);
  const table = element("table", "outcome-table", heads());
  const body = element("tbody");
  const arms = rule.arms.toSorted((one, other) => ARMS.indexOf(one.arm) - ARMS.indexOf(other.arm));
  for (const arm of arms) {
    body.append(groupRow(named("arm", arm.arm), arm, arm.arm, spans));
    for (const variant of arm.variants) {
      body.append(groupRow(variant.variant, variant, `variant ${arm.arm}`, spans));
    }
  }
  const isDoubtful = rule.warnings.some(({ code }) => DOUBTS.includes(code));
  for (const difference of rule.differences) {
    body.append(differenceRow(difference, spans, isDoubtful));
  }
  table.append(body);
  const frame = element("div", "outcome-frame", table);
  // What scrolls sideways on a narrow screen must be within reach of the keyboard.
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", rule.rule);
  return element("article", "outcome-rule", title, ...warnings(rule.warnings), frame);
}

function heads() {
  const names = ["arm", "accounts", ...MEASURES];
  const row = element("tr");
  for (const name of names) {
    const head = element("th", "", t(`outcome_${name}`));
    head.scope = "col";
    row.append(head);
  }
  return element("thead", "", row);
}

/** How far the bars of a rule reach to each side of 0. */
function spansOf(rule) {
  const groups = rule.arms.flatMap((arm) => [arm, ...arm.variants]);
  const changes = [...groups, ...rule.differences].map((one) => one.health_change);
  const shares = rule.differences.flatMap(({ recovered, retained }) => [recovered, retained]);
  const reach = (estimates) =>
    Math.max(0, ...estimates.flatMap((one) => [one?.low, one?.high, one?.value]).map((bound) => Math.abs(bound ?? 0)));
  return {
    health: Math.max(LEAST_HEALTH, reach(changes)),
    difference: Math.min(1, Math.max(LEAST_DIFFERENCE, reach(shares))),
  };
}

function groupRow(name, group, classes, spans) {
  const head = element("th", "", name);
  head.scope = "row";
  const accounts = element("td", "number", whole(group.accounts));
  if (group.waiting > 0) {
    accounts.append(element("span", "sub", ` ${t("outcome_waiting", { n: whole(group.waiting) })}`));
  }
  const share = (one) => {
    const figure = one.value == null ? t("none") : `${percent(one.value)} (${whole(one.did)}/${whole(one.of)})`;
    return measured(one, 0, 1, figure, bounds(one, percent));
  };
  const change = group.health_change;
  const { health } = spans;
  const figure = change.value == null ? t("none") : `${signedDecimal(change.value)} (n=${whole(change.of)})`;
  return element(
    "tr",
    classes,
    head,
    accounts,
    share(group.recovered),
    share(group.retained),
    measured(change, -health, health, figure, bounds(change, signedDecimal)),
  );
}

function differenceRow(difference, spans, isDoubtful) {
  const { variant, against } = difference;
  const one = variant ?? named("arm", "told");
  const other = against.variant ?? named("arm", against.arm);
  const head = element("th", "", t("outcome_less", { one, other }));
  head.scope = "row";
  const points = (value) => signed(value * 100);
  const cell = (estimate, span, say, unit = "{n}") => {
    const figure = estimate ? unit.replace("{n}", say(estimate.value)) : t("none");
    const made = measured(estimate, -span, span, figure, bounds(estimate, say));
    if (estimate) {
      const leavesOutZero = estimate.low > 0 || estimate.high < 0;
      const verdict = !leavesOutZero ? "unclear" : isDoubtful ? "doubtful" : "clear";
      made.append(element("span", "sub", t(`outcome_${verdict}`)));
      made.classList.toggle("clear", verdict === "clear");
    }
    return made;
  };
  return element(
    "tr",
    "difference",
    head,
    element("td"),
    cell(difference.recovered, spans.difference, points, t("outcome_points")),
    cell(difference.retained, spans.difference, points, t("outcome_points")),
    cell(difference.health_change, spans.health, signedDecimal),
  );
}

function bounds(estimate, say) {
  return estimate?.low == null ? "" : t("outcome_bounds", { low: say(estimate.low), high: say(estimate.high) });
}

/** A cell with a bar and the same in figures. */
function measured(estimate, from, to, figure, between) {
  const cell = element("td", "", bar(estimate, from, to), element("b", "", figure));
  if (between) {
    cell.append(element("span", "sub", between));
  }
  return cell;
}

function bar(estimate, from, to) {
  const x = (value) => EDGE + ((Math.min(Math.max(value, from), to) - from) / (to - from)) * (WIDTH - 2 * EDGE);
  const middle = HEIGHT / 2;
  const size = { class: "interval", width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" };
  const drawing = svg("svg", size);
  drawing.append(svg("line", { class: "interval-ground", x1: EDGE, x2: WIDTH - EDGE, y1: middle, y2: middle }));
  if (from < 0) {
    drawing.append(svg("line", { class: "interval-zero", x1: x(0), x2: x(0), y1: 0, y2: HEIGHT }));
  }
  if (estimate?.value == null) {
    return drawing;
  }
  if (estimate.low != null) {
    const [low, high] = [x(estimate.low), x(estimate.high)];
    drawing.append(svg("rect", { class: "interval-span", x: low, width: Math.max(high - low, 1), y: middle - 3, height: 6, rx: 3 }));
  }
  drawing.append(svg("circle", { class: "interval-value", cx: x(estimate.value), cy: middle, r: 4 }));
  return drawing;
}

function warnings(list) {
  if (list.length === 0) {
    return [];
  }
  const items = list.map(({ serious, words }) => {
    const mark = element("span", "mark", serious ? "▲" : "○");
    mark.setAttribute("aria-hidden", "true");
    return element("li", serious ? "serious" : "", mark, element("span", "", said(words)));
  });
  return [element("ul", "outcome-warnings", ...items)];
}
