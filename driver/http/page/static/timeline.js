// What happened, newest first.

import { byId, make, short } from "./words.js";

const KEPT = 300;
const SAID = new Set(["grant", "end", "epoch", "refusal"]);

export class Timeline {
  #list = byId("timeline");
  #own = new Set();

  constructor() {
    byId("kinds").addEventListener("change", () => this.#filter());
  }

  restart(records) {
    this.#list.replaceChildren();
    this.#insert(records, false);
  }

  add(records) {
    this.#insert(records, true);
    const said = records.filter((record) => SAID.has(record.kind)).slice(-3);
    if (said.length) byId("said").textContent = said.map((r) => `${named(r.machine)} ${r.text}`).join(". ");
  }

  /** Clients of this page's own, which are marked as such. */
  own(clients) {
    for (const client of clients) this.#own.add(String(client));
    for (const item of this.#list.children) this.#claim(item);
  }

  #insert(records, isNew) {
    for (const record of records) {
      const item = make(["li", { class: `kind-${record.kind}${isNew ? " new" : ""}`, "data-kind": record.kind,
        "data-client": record.client_id },
        ["time", { datetime: new Date(record.at_ms).toISOString() }, clock(record.at_ms)],
        ["div", { class: "what" },
          ["b", {}, named(record.machine)], " ", record.text,
          record.event && record.kind === "state" ? ["span", { class: "more" }, ` ${record.event}`] : null,
          record.stream_id && record.lease_id && record.kind !== "state"
            ? ["span", { class: "more" }, ` stream ${record.stream_id}`] : null,
          ["span", { class: "by" }]]]);
      item.hidden = !this.#isShown(record.kind);
      this.#claim(item);
      this.#list.prepend(item);
    }
    while (this.#list.children.length > KEPT) this.#list.lastChild.remove();
  }

  #claim(item) {
    const by = item.querySelector(".by");
    const text = this.#own.has(item.dataset.client) ? " (this page)" : "";
    if (by.textContent !== text) by.textContent = text;
  }

  #isShown(kind) {
    return byId("kinds").querySelector(`[value="${kind}"]`)?.checked ?? true;
  }

  #filter() {
    for (const item of this.#list.children) item.hidden = !this.#isShown(item.dataset.kind);
  }
}

function named(machine) {
  const [kind, id] = machine.split(" ");
  return kind === "lease" ? `lease ${short(id)}` : machine;
}

function clock(ms) {
  const date = new Date(ms);
  const two = (number) => String(number).padStart(2, "0");
  return (
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}` +
    `.${String(date.getMilliseconds()).padStart(3, "0")}`
  );
}
