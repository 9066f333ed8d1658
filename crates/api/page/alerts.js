// The alerts that are open, and what people do about them: of all accounts, or of one in its panel.
// A card lives as long as its alert is open, so that focus and what is being typed keep their place.

import { element } from "./list.js";
import * as words from "./words.js";

const { t } = words;

const SHOWN_AT_MOST = 200;
const SNOOZES = [1, 7, 30];
const HOURS = 24;
const WHO = "mimamori.who";
/** How long a card says what came of an action, in milliseconds. */
const SAID_FOR = 6_000;

/** Draws the open alerts; `ask` fetches a path of the API, `act` posts to one, `open` shows an account. */
export class OpenAlerts {
  constructor(ask, act, open = null) {
    this.ask = ask;
    this.act = act;
    this.open = open;
    this.account = "";
    this.cards = new Map();
    this.alerts = [];
    this.who = element("input");
    this.list = element("ul", "alert-cards");
    this.empty = element("p", "empty");
    this.element = element("section", "open-alerts");
    this.#lay();
  }

  /** How many are open, as far as they are shown. */
  get count() {
    return this.alerts.length;
  }

  /** Whether there may be more than are shown. */
  get isCut() {
    return this.alerts.length >= SHOWN_AT_MOST;
  }

  /** Asks again, for the alerts of one account where one is named. */
  async refresh(account = "") {
    this.account = account;
    const query = new URLSearchParams({ state: "open", limit: SHOWN_AT_MOST });
    if (account) {
      query.set("account_id", account);
    }
    const found = await this.ask(`/api/v1/alerts?${query}`);
    if (account === this.account) {
      this.alerts = found?.alerts ?? [];
      this.#draw();
    }
  }

  /** Writes everything again, in the language of now. */
  redraw() {
    this.cards.clear();
    this.#lay();
    this.#draw();
  }

  #lay() {
    const id = `who-${Math.random().toString(36).slice(2)}`;
    this.who = element("input");
    this.who.id = id;
    this.who.maxLength = 200;
    this.who.autocomplete = "name";
    this.who.placeholder = t("who_hint");
    this.who.value = remembered();
    this.who.addEventListener("change", () => remember(this.who.value.trim()));
    const label = element("label", "", t("who"));
    label.htmlFor = id;
    this.list = element("ul", "alert-cards");
    this.list.tabIndex = -1;
    this.empty = element("p", "empty", t("alerts_none"));
    this.element.setAttribute("aria-label", t("open_alerts"));
    const title = this.open == null ? element("h3", "", t("open_alerts")) : element("h2", "hidden", t("open_alerts"));
    this.element.replaceChildren(title, element("p", "who", label, this.who), this.empty, this.list);
  }

  #draw() {
    const kept = new Map();
    const hadFocus = this.list.contains(document.activeElement);
    this.alerts.forEach((alert, index) => {
      const card = this.cards.get(alert.episode_id) ?? new Card(this, alert);
      card.show(alert);
      kept.set(alert.episode_id, card);
      if (this.list.children[index] !== card.element) {
        this.list.insertBefore(card.element, this.list.children[index] ?? null);
      }
    });
    for (const [id, card] of this.cards) {
      if (!kept.has(id)) {
        card.element.remove();
      }
    }
    this.cards = kept;
    if (hadFocus && !this.list.contains(document.activeElement)) {
      this.list.focus();
    }
    this.empty.hidden = this.alerts.length > 0;
    this.who.parentElement.hidden = this.alerts.length === 0;
    if (this.open == null) {
      this.element.hidden = this.alerts.length === 0;
    }
  }

  /** The name of who acts; null when it has to be given first. */
  whoActs() {
    const name = this.who.value.trim();
    if (!name) {
      this.who.setAttribute("aria-invalid", "true");
      this.who.focus();
      return null;
    }
    this.who.removeAttribute("aria-invalid");
    remember(name);
    return name;
  }
}

/** One open alert. */
class Card {
  constructor(list, alert) {
    this.list = list;
    this.alert = alert;
    this.drawn = "";
    this.severity = element("span", "badge");
    this.state = element("span", "badge state");
    this.since = element("time", "sub");
    this.reason = element("p", "alert-reason");
    this.facts = element("p", "sub alert-facts");
    this.said = element("p", "alert-said");
    this.said.setAttribute("role", "status");
    this.note = element("textarea");
    this.note.maxLength = 2000;
    this.note.rows = 2;
    this.playbook = element("input");
    this.playbook.maxLength = 200;
    this.form = this.#makeForm();
    const head = element("div", "alert-head", this.severity, ...this.#names(), this.state, this.since);
    this.actions = this.#makeActions();
    this.element = element("li", "alert-card", head, this.reason, this.facts, this.actions, this.form, this.said);
  }

  #names() {
    const rule = element("code", "alert-rule", this.alert.rule);
    if (this.list.open == null) {
      return [rule];
    }
    const account = element("button", "alert-account", nameOf(this.alert));
    account.type = "button";
    account.addEventListener("click", () => this.list.open(this.alert.account_id));
    return [account, rule];
  }

  #makeActions() {
    const group = element("div", "alert-actions");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", t("alert_actions", { name: nameOf(this.alert), rule: this.alert.rule }));
    const button = (text, press, classes = "quiet") => {
      const made = element("button", classes, text);
      made.type = "button";
      made.addEventListener("click", press);
      return made;
    };
    this.acknowledge = button(t("acknowledge"), () => this.#do("acknowledge"), "main");
    const snoozes = SNOOZES.map((days) => {
      const short = button(t("snooze_days", { n: words.whole(days) }), () => this.#do("snooze", { hours: days * HOURS }));
      short.setAttribute("aria-label", t("snooze_for", { n: words.whole(days) }));
      return short;
    });
    const snooze = element("span", "snoozes", element("span", "sub", t("snooze")), ...snoozes);
    this.toggle = button(t("note"), () => this.#toggle());
    this.toggle.setAttribute("aria-expanded", "false");
    group.append(this.acknowledge, snooze, button(t("resolve"), () => this.#do("resolve")), this.toggle);
    return group;
  }

  #makeForm() {
    const label = (key, field) => element("label", "", element("span", "sub", t(key)), field);
    const save = element("button", "quiet", t("note_save"));
    save.type = "submit";
    const form = element("form", "alert-form", label("note_text", this.note), label("playbook", this.playbook), save);
    form.hidden = true;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#do("note");
    });
    return form;
  }

  #toggle() {
    this.form.hidden = !this.form.hidden;
    this.toggle.setAttribute("aria-expanded", String(!this.form.hidden));
    if (!this.form.hidden) {
      this.note.focus();
    }
  }

  show(alert) {
    const drawn = JSON.stringify(alert);
    if (drawn === this.drawn) {
      return;
    }
    this.drawn = drawn;
    this.alert = alert;
    this.element.className = `alert-card ${alert.severity} is-${alert.state}`;
    this.severity.className = `badge ${alert.severity}`;
    this.severity.textContent = words.named("severity", alert.severity);
    this.state.className = `badge state ${alert.state}`;
    this.state.textContent = words.named("alert_state", alert.state);
    this.since.dateTime = alert.opened_at;
    this.since.textContent = t("alert_since", { time: words.moment(alert.opened_at) });
    this.reason.textContent = withoutName(words.said(alert.reason), nameOf(alert));
    this.facts.textContent = factsOf(alert).join(" · ");
    this.facts.hidden = this.facts.textContent === "";
    const isAcknowledged = alert.acknowledged_at != null;
    if (isAcknowledged && document.activeElement === this.acknowledge) {
      this.toggle.focus();
    }
    this.acknowledge.hidden = isAcknowledged;
    for (const button of this.actions.querySelectorAll("button")) {
      button.disabled = alert.state === "resolving";
    }
  }

  async #do(deed, more = {}) {
    const by = this.list.whoActs();
    if (by == null) {
      this.#say(t("who_wanted"), true);
      return;
    }
    const body = { by, ...more };
    const [note, playbook] = [this.note.value.trim(), this.playbook.value.trim()];
    if (note) {
      body.note = note;
    } else if (deed === "note") {
      this.#say(t("note_wanted"), true);
      this.note.focus();
      return;
    }
    if (playbook) {
      body.playbook = playbook;
    }
    this.#say(t("action_sending"));
    try {
      await this.list.act(`/api/v1/alerts/${encodeURIComponent(this.alert.episode_id)}/${deed}`, body);
    } catch (error) {
      this.#say(t("action_failed", { detail: error.message }), true);
      return;
    }
    this.note.value = "";
    this.playbook.value = "";
    if (!this.form.hidden) {
      this.#toggle();
      this.toggle.focus();
    }
    this.#say(t("action_done"));
  }

  #say(text, isBad = false) {
    clearTimeout(this.timer);
    this.said.textContent = text;
    this.said.classList.toggle("bad", isBad);
    if (!isBad) {
      this.timer = setTimeout(() => {
        this.said.textContent = "";
      }, SAID_FOR);
    }
  }
}

function nameOf(alert) {
  return alert.payload?.account?.name ?? alert.account_id;
}

/** The reason begins with the account's name, which stands beside it. */
function withoutName(reason, name) {
  const rest = reason.startsWith(name) ? reason.slice(name.length) : reason;
  return rest === reason ? reason : rest.replace(/^[:：,、]\s*/, "");
}

function factsOf(alert) {
  const facts = [];
  const owner = alert.payload?.account?.owner;
  if (owner) {
    facts.push(`${t("owner")}: ${owner}`);
  }
  if (alert.acknowledged_at) {
    const by = alert.acknowledged_by ?? t("unknown");
    facts.push(t("acknowledged_by", { by, time: words.moment(alert.acknowledged_at) }));
  }
  if (alert.snoozed_until) {
    facts.push(t("snoozed_until", { time: words.moment(alert.snoozed_until) }));
  }
  if (alert.playbook) {
    facts.push(`${t("playbook")}: ${alert.playbook}`);
  }
  if (alert.note) {
    facts.push(t("noted", { note: alert.note.text, by: alert.note.by ?? t("unknown") }));
  }
  return facts;
}

function remembered() {
  try {
    return localStorage.getItem(WHO) ?? "";
  } catch {
    return "";
  }
}

function remember(name) {
  try {
    localStorage.setItem(WHO, name);
  } catch {
    // A browser that keeps nothing asks again.
  }
}
