// The list of accounts. A row's element lives as long as its account is on the page, so that focus,
// selection and the eye keep their place while the numbers change.

import { sparkline, weekChange } from "./chart.js";
import { daysAgo, money, named, oneDecimal, percent, said, signed, t, whole } from "./words.js";

/** How long a row shows that its health moved, in milliseconds. */
const MOVE_SHOWN = 8_000;
/** Smallest change of health or of risk (in percent) that is called a move. */
const MOVE_LEAST = 0.5;

const SHAPES = { red: "◆", yellow: "▲", green: "●", unknown: "○" };

/** Column, and the API's key when one can sort by it. */
export const COLUMNS = [
  ["name", "name"],
  ["health", "health"],
  ["trend", null],
  ["churn_risk", "churn_risk"],
  ["activity", "activity"],
  ["adoption", "adoption"],
  ["ttv", "ttv"],
  ["days_since_last_login", "days_since_last_login"],
  ["stage", null],
  ["mrr", "mrr"],
  ["reason", null],
];

export function element(name, classes = "", ...children) {
  const made = document.createElement(name);
  if (classes) {
    made.className = classes;
  }
  made.append(...children);
  return made;
}

/** The band in a colour, a shape and a word, with the score. */
export function bandPill(band, health) {
  const pill = element("span", `pill ${band in SHAPES ? band : "unknown"}`);
  const shape = element("span", "shape", SHAPES[band] ?? SHAPES.unknown);
  shape.setAttribute("aria-hidden", "true");
  pill.append(shape, element("b", "", health == null ? t("none") : whole(health)));
  pill.append(element("span", "hidden", ` ${named("band", band)}`));
  pill.title = named("band", band);
  return pill;
}

/** Writes the heads of the columns; `choose` is called with the key to sort by. */
export function drawHeads(row, sort, order, choose) {
  row.replaceChildren(
    ...COLUMNS.map(([column, key]) => {
      const head = element("th", `col-${column}`);
      head.scope = "col";
      head.setAttribute("role", "columnheader");
      const label = t(`col_${column}`);
      if (key == null) {
        head.append(label);
        return head;
      }
      const isSorted = key === sort;
      if (isSorted) {
        head.setAttribute("aria-sort", order === "desc" ? "descending" : "ascending");
      }
      const arrow = element("span", "arrow", isSorted ? (order === "desc" ? "▼" : "▲") : "");
      arrow.setAttribute("aria-hidden", "true");
      const button = element("button", "head", label, arrow);
      button.type = "button";
      button.dataset.sort = key;
      button.addEventListener("click", () => choose(key));
      if (column === "churn_risk") {
        button.title = t("churn_risk_hint");
      }
      head.append(button);
      return head;
    }),
  );
}

/** The rows that are shown, by account. */
export class Rows {
  constructor(body, open) {
    this.body = body;
    this.open = open;
    this.rows = new Map();
    this.histories = new Map();
    this.selected = null;
    body.addEventListener("keydown", (event) => this.#step(event));
  }

  /** Shows `accounts` in their order; says how many of them moved. */
  show(accounts) {
    const before = this.#places();
    const kept = new Map();
    let moved = 0;
    accounts.forEach((account, index) => {
      const row = this.rows.get(account.account_id) ?? this.#make(account.account_id);
      if (account.health_history) {
        this.histories.set(account.account_id, account.health_history);
      }
      moved += this.#update(row, account) ? 1 : 0;
      kept.set(account.account_id, row);
      if (this.body.children[index] !== row.element) {
        this.body.insertBefore(row.element, this.body.children[index] ?? null);
      }
    });
    for (const [id, row] of this.rows) {
      if (!kept.has(id)) {
        row.element.remove();
      }
    }
    this.rows = kept;
    this.#slide(before);
    return moved;
  }

  /** Whether a row is missing the history that its line is drawn from. */
  lacksHistory(accounts) {
    return accounts.some((account) => !this.histories.has(account.account_id));
  }

  /** Marks the row whose panel is open. */
  select(id) {
    this.selected = id;
    for (const [account, row] of this.rows) {
      row.element.classList.toggle("selected", account === id);
    }
  }

  focus(id) {
    this.rows.get(id)?.name.focus();
  }

  /** Writes every row again, in the language of now. */
  redraw() {
    for (const row of this.rows.values()) {
      row.drawn = "";
      this.#update(row, row.account);
    }
  }

  #make(id) {
    const made = element("tr");
    made.setAttribute("role", "row");
    const cells = Object.fromEntries(
      COLUMNS.map(([column]) => {
        const cell = element("td", `col-${column}`);
        cell.setAttribute("role", "cell");
        return [column, cell];
      }),
    );
    made.append(...Object.values(cells));
    const name = element("button", "name");
    name.type = "button";
    cells.name.append(name, element("span", "sub"));
    made.addEventListener("click", () => {
      if (!getSelection()?.toString()) {
        this.open(id);
      }
    });
    made.classList.toggle("selected", id === this.selected);
    return { element: made, cells, name, account: null, drawn: "", calm: null };
  }

  #update(row, account) {
    const change = difference(row.account, account);
    row.account = account;
    const history = this.histories.get(account.account_id);
    const drawn = JSON.stringify([account, history?.at(-1)]);
    if (drawn !== row.drawn) {
      row.drawn = drawn;
      this.#draw(row, account, history ?? []);
    }
    if (change === 0) {
      return false;
    }
    this.#showMove(row, change);
    return true;
  }

  #draw(row, account, history) {
    const { cells } = row;
    row.name.textContent = account.name ?? account.account_id;
    cells.name.querySelector(".sub").textContent = [account.name ? account.account_id : null, account.plan]
      .filter(Boolean)
      .join(" · ");
    cells.health.replaceChildren(bandPill(account.band, account.health), element("span", "move"));
    cells.trend.replaceChildren(sparkline(history), changeMark(weekChange(history, account.health)));
    cells.churn_risk.replaceChildren(risk(account.churn_risk));
    cells.activity.replaceChildren(meter(account.activity));
    cells.adoption.replaceChildren(meter(account.adoption));
    cells.ttv.replaceChildren(...timeToValue(account));
    cells.days_since_last_login.textContent = daysAgo(account.days_since_last_login);
    cells.days_since_last_login.classList.toggle("late", (account.days_since_last_login ?? 0) >= 14);
    cells.stage.replaceChildren(
      element("span", "", named("stage", account.stage)),
      element("span", "sub", account.owner ?? t("no_owner")),
    );
    cells.mrr.textContent = money(account.mrr, account.currency);
    const reason = account.reason ? said(account.reason.sentence) : t("none");
    cells.reason.replaceChildren(element("span", `reason ${account.reason?.effect ?? "none"}`, reason));
    for (const [column, cell] of Object.entries(cells)) {
      cell.dataset.label = t(`col_${column}`);
    }
  }

  #showMove(row, change) {
    const direction = change > 0 ? "up" : "down";
    row.element.classList.remove("up", "down");
    // Reading the box lets the animation begin again.
    void row.element.offsetWidth;
    row.element.classList.add(direction);
    const size = Math.max(1, Math.round(Math.abs(change)));
    const move = row.cells.health.querySelector(".move");
    move.textContent = `${change > 0 ? "▲" : "▼"}${whole(size)}`;
    move.title = t(`moved_${direction}`, { n: whole(size) });
    clearTimeout(row.calm);
    row.calm = setTimeout(() => {
      row.element.classList.remove("up", "down");
      row.cells.health.querySelector(".move").textContent = "";
    }, MOVE_SHOWN);
  }

  #places() {
    return new Map([...this.rows].map(([id, row]) => [id, row.element.getBoundingClientRect().top]));
  }

  /** Lets rows that changed places slide there, unless the reader asked for no motion. */
  #slide(before) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      return;
    }
    for (const [id, row] of this.rows) {
      const distance = (before.get(id) ?? 0) - row.element.getBoundingClientRect().top;
      if (before.has(id) && Math.abs(distance) > 1) {
        row.element.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }], {
          duration: 450,
          easing: "ease-out",
        });
      }
    }
  }

  #step(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const rows = [...this.rows.values()];
    const at = rows.findIndex((row) => row.element.contains(document.activeElement));
    if (step && at >= 0 && rows[at + step]) {
      event.preventDefault();
      rows[at + step].name.focus();
    }
  }
}

/** By how much health moved, or the risk where health did not; 0 when neither did. */
function difference(before, after) {
  if (!before) {
    return 0;
  }
  if (before.health != null && after.health != null && Math.abs(after.health - before.health) >= MOVE_LEAST) {
    return after.health - before.health;
  }
  if (before.churn_risk != null && after.churn_risk != null) {
    const change = (before.churn_risk - after.churn_risk) * 100;
    return Math.abs(change) >= MOVE_LEAST ? change : 0;
  }
  return 0;
}

function changeMark(change) {
  if (change == null) {
    const mark = element("span", "change flat", "");
    mark.title = t("change_unknown");
    return mark;
  }
  const rounded = Math.round(change);
  const direction = rounded > 0 ? "up" : rounded < 0 ? "down" : "flat";
  const arrow = { up: "↗", down: "↘", flat: "→" }[direction];
  const mark = element("span", `change ${direction}`, rounded === 0 ? arrow : `${arrow}${signed(rounded)}`);
  mark.title = rounded === 0 ? t("change_none") : t("change_week", { change: signed(rounded) });
  return mark;
}

function risk(value) {
  const level = value == null ? "unknown" : value >= 0.3 ? "high" : value >= 0.1 ? "some" : "low";
  return element("span", `risk ${level}`, percent(value));
}

/** A score from 0 to 100 as a number and a bar. */
export function meter(score) {
  const frame = element("span", "meter", element("span", "meter-number", whole(score)));
  const bar = element("span", "meter-bar");
  const fill = element("span", "meter-fill");
  fill.style.width = `${Math.min(Math.max(score ?? 0, 0), 100)}%`;
  bar.append(fill);
  frame.append(bar);
  return frame;
}

function timeToValue(account) {
  const parts = [];
  if (account.ttv_days != null) {
    const n = oneDecimal(account.ttv_days);
    const reached = element("span", "reached", t("ttv_reached", { n }));
    reached.title = t("ttv_reached_long", { n });
    parts.push(reached);
  } else if (account.ttv_running_days != null) {
    const n = whole(account.ttv_running_days);
    const isLate = (account.ttv ?? 100) <= 50;
    const waiting = element("span", isLate ? "waiting late" : "waiting", t("ttv_waiting", { n }));
    waiting.title = t("ttv_waiting_long", { n });
    parts.push(waiting);
  } else {
    parts.push(t("none"));
  }
  const state = account.onboarding_state;
  if (state && state !== "done") {
    const isLate = state === "behind" || state === "stalled";
    parts.push(element("span", isLate ? "sub late" : "sub", named("onboarding", state)));
  }
  return parts;
}
