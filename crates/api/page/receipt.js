// The receipt of an account's newest evaluation: what it was made of, and the query that makes it again.

import { element } from "./list.js";
import * as words from "./words.js";

const { t } = words;

/** A part that is asked for only when it is opened, and then stays as it is until it is opened again. */
export class Receipt {
  constructor(ask, id) {
    this.ask = ask;
    this.base = `/api/v1/accounts/${encodeURIComponent(id)}/receipt`;
    this.id = id;
    this.link = null;
    this.content = element("div", "receipt-body");
    this.details = element("details", "receipt", element("summary", "", t("receipt")), this.content);
    this.details.addEventListener("toggle", () => this.#toggled());
    this.element = element("section", "part part-receipt", this.details);
  }

  /** Lets go of what the browser keeps for the link. */
  drop() {
    if (this.link != null) {
      URL.revokeObjectURL(this.link);
      this.link = null;
    }
  }

  async #toggled() {
    if (!this.details.open) {
      return;
    }
    this.content.replaceChildren(element("p", "empty", t("loading")));
    try {
      this.#draw(await this.ask(this.base));
    } catch (error) {
      this.content.replaceChildren(element("p", "empty", t("trouble", { detail: error.message })));
    }
  }

  #draw(receipt) {
    this.drop();
    const facts = element("dl", "facts");
    const add = (key, value) => facts.append(element("div", "", element("dt", "", t(key)), element("dd", "", value)));
    add("receipt_evaluated", words.moment(receipt.evaluated_at));
    add("receipt_watermark", words.moment(receipt.watermark));
    add("receipt_offset", String(receipt.cut_offset));
    add("receipt_model", receipt.model_hash);

    const json = JSON.stringify(receipt, null, 2);
    this.link = URL.createObjectURL(new Blob([json], { type: "application/json" }));
    const save = element("a", "", t("receipt_save"));
    save.href = this.link;
    save.download = `receipt-${this.id}-${receipt.evaluated_at}.json`.replace(/[^\p{L}\p{N}._-]+/gu, "_");

    const verdict = element("p", "receipt-verdict");
    verdict.setAttribute("role", "status");
    const check = element("button", "quiet", t("receipt_check"));
    check.type = "button";
    check.addEventListener("click", () => this.#check(receipt.evaluated_at, check, verdict));

    const sql = element("pre", "", element("code", "", receipt.sql));
    sql.tabIndex = 0;
    sql.setAttribute("aria-label", t("receipt_sql"));
    const tools = element("div", "receipt-tools", check, save);
    this.content.replaceChildren(facts, tools, verdict, element("h4", "", t("receipt_sql")), sql);
  }

  async #check(evaluated, button, verdict) {
    button.disabled = true;
    verdict.textContent = t("receipt_checking");
    try {
      const { check } = await this.ask(`${this.base}?check=true&at=${encodeURIComponent(evaluated)}`);
      verdict.textContent = check.same
        ? t("receipt_same")
        : t("receipt_differs", {
          n: words.whole(check.differences.length),
          names: check.differences.slice(0, 5).map((one) => one.column).join(", "),
        });
    } catch (error) {
      verdict.textContent = t("trouble", { detail: error.message });
    }
    button.disabled = false;
  }
}
