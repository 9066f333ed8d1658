// The page as a whole: what is asked for, how often, and what the address remembers.

import { OpenAlerts } from "./alerts.js";
import { COLUMNS, drawHeads, element, Rows } from "./list.js";
import { Outcome } from "./outcome.js";
import { Panel } from "./panel.js";
import { clock, currentLanguage, money, named, startLanguage, t, useLanguage, whole } from "./words.js";

const REFRESH = 2_000;
const REFRESH_AT_MOST = 30_000;
const ALERTS_REFRESH = 20_000;
const HISTORY_REFRESH = 60_000;
const HISTORY_DAYS = 30;
const PAGE = 50;
const BANDS = ["red", "yellow", "green", "unknown"];
const LARGEST_FIRST = ["churn_risk", "mrr", "days_since_last_login"];
const KEY = "mimamori.key";

const at = (id) => document.getElementById(id);

/** What the reader asked to see; kept in the address. */
const view = { band: "", stage: "", search: "", sort: "churn_risk", order: "desc", offset: 0, account: "", view: "accounts" };
const held = new Map();
let answer = null;
let historyAt = 0;
let alertsAt = 0;
let turn = 0;
let timer = null;
let failedAt = null;
let pause = REFRESH;

const rows = new Rows(at("rows"), openAccount);
const alerts = new OpenAlerts(ask, act, openAccount);
const panel = new Panel(at("panel"), ask, act, (id) => {
  view.account = "";
  rows.select(null);
  writeAddress();
  rows.focus(id);
});

const outcome = new Outcome(at("outcome"), ask, failed);

class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The API's answer at `path`; the one held already when it is still the same. */
async function ask(path, { missing = false } = {}) {
  const headers = { accept: "application/json" };
  const before = held.get(path);
  if (before) {
    headers["if-none-match"] = before.tag;
  }
  const key = storedKey();
  if (key) {
    headers.authorization = `Bearer ${key}`;
  }
  const response = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(20_000) });
  if (response.status === 304 && before) {
    return before.body;
  }
  if (response.status === 404 && missing) {
    return null;
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Refused(response.status, problem.detail ?? response.statusText);
  }
  const body = await response.json();
  keep(path, { tag: response.headers.get("etag"), body });
  return body;
}

/** Has the API do something; what came of it is asked for at once. */
async function act(path, body) {
  const headers = { accept: "application/json", "content-type": "application/json" };
  const key = storedKey();
  if (key) {
    headers.authorization = `Bearer ${key}`;
  }
  const signal = AbortSignal.timeout(20_000);
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Refused(response.status, answer.detail ?? response.statusText);
  }
  alertsAt = 0;
  refresh();
  return answer;
}

/** Holds the newest few answers. */
function keep(path, entry) {
  held.delete(path);
  held.set(path, entry);
  if (held.size > 16) {
    held.delete(held.keys().next().value);
  }
}

function listPath() {
  const query = new URLSearchParams({ sort: view.sort, order: view.order, limit: PAGE, offset: view.offset });
  for (const name of ["band", "stage", "search"]) {
    if (view[name]) {
      query.set(name, view[name]);
    }
  }
  return `/api/v1/accounts?${query}`;
}

async function refresh() {
  clearTimeout(timer);
  const mine = ++turn;
  try {
    const path = listPath();
    const isHistoryDue = Date.now() - historyAt > HISTORY_REFRESH;
    let found = await ask(isHistoryDue ? `${path}&history_days=${HISTORY_DAYS}` : path);
    if (!isHistoryDue && rows.lacksHistory(found.accounts)) {
      found = await ask(`${path}&history_days=${HISTORY_DAYS}`);
      historyAt = Date.now();
    } else if (isHistoryDue) {
      historyAt = Date.now();
    }
    if (mine !== turn) {
      return;
    }
    answer = found;
    draw();
    await refreshAlerts();
    if (view.account) {
      rows.select(view.account);
      await panel.open(view.account);
    }
    recovered();
  } catch (error) {
    if (mine === turn) {
      failed(error);
    }
  }
  if (mine === turn && !document.hidden) {
    timer = setTimeout(refresh, pause);
  }
}

/** The alerts are asked for as often as all else while they are shown. */
async function refreshAlerts() {
  if (view.view === "alerts" || Date.now() - alertsAt > ALERTS_REFRESH) {
    await alerts.refresh();
    alertsAt = Date.now();
    drawViews();
  }
}

function drawViews() {
  at("alerts").hidden = view.view !== "alerts";
  at("accounts").hidden = view.view === "alerts";
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view.view));
  }
  const count = at("alert-count");
  count.hidden = alertsAt === 0;
  count.textContent = whole(alerts.count) + (alerts.isCut ? "+" : "");
}

function recovered() {
  failedAt = null;
  pause = REFRESH;
  at("trouble").hidden = true;
  at("key-form").hidden = true;
  say("live", t("live", { time: clock(new Date()) }));
}

function failed(error) {
  if (error instanceof Refused && error.status === 401) {
    askForKey();
    return;
  }
  failedAt ??= new Date();
  pause = Math.min(pause * 2, REFRESH_AT_MOST);
  say("stale", t("stale", { time: clock(failedAt) }));
  if (error instanceof Refused) {
    const trouble = at("trouble");
    trouble.textContent = t("trouble", { detail: error.message });
    trouble.hidden = false;
  }
}

function say(state, text) {
  at("live").dataset.state = state;
  at("live-text").textContent = text;
}

function askForKey() {
  const form = at("key-form");
  pause = REFRESH_AT_MOST;
  form.querySelector("label").textContent = t(storedKey() ? "key_wrong" : "key_wanted");
  say("paused", t("paused"));
  if (form.hidden) {
    form.hidden = false;
    at("key").focus();
  }
}

function storedKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function draw() {
  const { accounts, total, bands, stages } = answer;
  const isFiltered = Boolean(view.band || view.stage || view.search);
  const isEmpty = total === 0;
  const isNew = isEmpty && !isFiltered;
  rows.show(accounts);
  drawBands(bands);
  drawStages(stages);
  drawHeads(at("heads"), view.sort, view.order, sortBy);
  at("summary").hidden = isNew;
  at("tools").hidden = isNew;
  at("table-frame").hidden = isEmpty;
  at("nothing").hidden = !isEmpty || isNew;
  at("start").hidden = !isNew;
  at("clear").hidden = !isFiltered;
  at("count").textContent = total === 1 ? t("count_one") : t("count", { n: whole(total) });
  at("sort").value = view.sort;
  if (isNew && !at("start-event").textContent) {
    at("start-event").textContent = firstEvent();
  }
  const last = view.offset + accounts.length;
  at("pager").hidden = total <= PAGE && view.offset === 0;
  at("range").textContent = t("range", { from: whole(Math.min(view.offset + 1, last)), to: whole(last), total: whole(total) });
  at("previous").disabled = view.offset === 0;
  at("next").disabled = answer.next == null;
  if (accounts.length === 0 && view.offset > 0 && total > 0) {
    change({ offset: 0 });
  }
}

/** Where focus stays while the counts change, the buttons stay too. */
function drawBands(bands) {
  const group = at("bands");
  if (group.childElementCount === 0) {
    for (const band of ["", ...BANDS]) {
      const button = element("button", `band ${band || "all"}`, element("span", "band-name"), element("b"), element("span", "sub"));
      button.type = "button";
      button.dataset.band = band;
      button.addEventListener("click", () => change({ band: view.band === band ? "" : band, offset: 0 }));
      group.append(button);
    }
    at("stack").append(...BANDS.map((band) => element("span", band)));
  }
  const all = BANDS.reduce((sum, band) => sum + bands[band].accounts, 0);
  for (const button of group.children) {
    const { band } = button.dataset;
    const [name, number, worth] = button.children;
    name.textContent = band ? named("band", band) : t("all");
    number.textContent = whole(band ? bands[band].accounts : all);
    worth.textContent = band ? worthOf([bands[band]]) : worthOf(Object.values(bands));
    button.setAttribute("aria-pressed", String(view.band === band));
    button.hidden = band === "unknown" && bands.unknown.accounts === 0;
  }
  for (const [index, band] of BANDS.entries()) {
    at("stack").children[index].style.flexGrow = String(bands[band].accounts);
  }
}

function worthOf(bands) {
  const sums = {};
  for (const { mrr } of bands) {
    for (const [currency, amount] of Object.entries(mrr)) {
      sums[currency] = (sums[currency] ?? 0) + amount;
    }
  }
  const parts = Object.entries(sums).map(([currency, amount]) => money(amount, currency, true));
  return parts.length === 0 ? "" : `${t("col_mrr")} ${parts.join(" + ")}`;
}

function drawStages(stages) {
  const select = at("stage");
  const names = Object.keys(stages).filter((stage) => stages[stage] > 0 || stage === view.stage);
  const wanted = ["", ...names];
  const key = JSON.stringify([wanted, currentLanguage()]);
  if (select.dataset.drawn !== key) {
    select.dataset.drawn = key;
    select.replaceChildren(
      ...wanted.map((stage) => new Option(stage ? named("stage", stage) : t("all_stages"), stage)),
    );
  }
  select.value = view.stage;
}

function drawSortChoices() {
  const choices = COLUMNS.filter(([, key]) => key != null);
  at("sort").replaceChildren(...choices.map(([column, key]) => new Option(t(`col_${column}`), key)));
}

function firstEvent() {
  const event = {
    event_id: crypto.randomUUID?.() ?? String(Date.now()),
    account_id: "acme",
    user_id: "u-1",
    type: "login",
    occurred_at: new Date().toISOString(),
  };
  return `echo '${JSON.stringify(event)}' | kcat -P -b 127.0.0.1:9092 -t usage.events`;
}

function sortBy(key) {
  const isSame = key === view.sort;
  const natural = LARGEST_FIRST.includes(key) ? "desc" : "asc";
  const opposite = view.order === "desc" ? "asc" : "desc";
  change({ sort: key, order: isSame ? opposite : natural, offset: 0 });
  document.querySelector(`[data-sort="${key}"]`)?.focus();
}

function openAccount(id) {
  view.account = id;
  rows.select(id);
  writeAddress(true);
  panel.open(id).catch(failed);
}

function change(wanted) {
  Object.assign(view, wanted);
  writeAddress();
  if (answer) {
    drawHeads(at("heads"), view.sort, view.order, sortBy);
    drawBands(answer.bands);
  }
  refresh();
}

const NATURAL = { ...view };

function writeAddress(asNew = false) {
  const kept = Object.entries(view).filter(([name, value]) => value !== NATURAL[name]);
  const hash = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  const address = `${location.pathname}${location.search}${hash ? `#${hash}` : ""}`;
  history[asNew ? "pushState" : "replaceState"](null, "", address);
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, natural] of Object.entries(NATURAL)) {
    view[name] = given.get(name) ?? natural;
  }
  const keys = COLUMNS.map(([, key]) => key).filter(Boolean);
  view.offset = Math.max(0, Math.trunc(Number(view.offset)) || 0);
  view.sort = keys.includes(view.sort) ? view.sort : NATURAL.sort;
  view.order = view.order === "asc" ? "asc" : "desc";
  view.view = view.view === "alerts" ? "alerts" : "accounts";
  view.band = BANDS.includes(view.band) ? view.band : "";
  at("search").value = view.search;
  drawViews();
}

function speak(chosen) {
  useLanguage(chosen, true);
  drawSortChoices();
  rows.redraw();
  alerts.redraw();
  panel.redraw();
  outcome.redraw();
  drawViews();
  if (answer) {
    draw();
  }
}

function listen() {
  let typing = null;
  at("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ search: at("search").value.trim(), offset: 0 }), 200);
  });
  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("stage").addEventListener("change", () => change({ stage: at("stage").value, offset: 0 }));
  at("sort").addEventListener("change", () => {
    const key = at("sort").value;
    change({ sort: key, order: LARGEST_FIRST.includes(key) ? "desc" : "asc", offset: 0 });
  });
  for (const id of ["clear", "clear-too"]) {
    at(id).addEventListener("click", () => {
      at("search").value = "";
      change({ band: "", stage: "", search: "", offset: 0 });
      at("search").focus();
    });
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => {
      change({ view: button.dataset.view });
      drawViews();
    });
  }
  at("previous").addEventListener("click", () => change({ offset: Math.max(0, view.offset - PAGE) }));
  at("next").addEventListener("click", () => change({ offset: view.offset + PAGE }));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => speak(button.dataset.language));
  }
  at("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, at("key").value.trim());
    pause = REFRESH;
    refresh();
  });
  addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input, select, textarea");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      at("search").focus();
    } else if (event.key === "Escape") {
      panel.close();
    }
  });
  addEventListener("popstate", () => {
    readAddress();
    if (!view.account) {
      panel.close();
    }
    refresh();
  });
  addEventListener("hashchange", () => {
    readAddress();
    refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      say("paused", t("paused"));
    } else {
      refresh();
    }
  });
}

startLanguage();
drawSortChoices();
alerts.redraw();
at("alerts").append(alerts.element);
say("loading", t("loading"));
readAddress();
listen();
refresh();
