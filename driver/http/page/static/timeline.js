// What happened, newest first.

import { byId, make, short, streamName } from "./words.js";

const KEPT = 300;
const SAID = new Set(["grant", "end", "epoch", "refusal"]);

export class Timeline {
  #list = byId("timeline");
  #own = new Set();
  #names = new Map();

  constructor() {
    byId("kinds").addEventListener("change", () => this.#filter());
  }

  restart(records) {
    this.#list.replaceChildren();
    this.#insert(records, false);
  }

  add(records) {
    this.#insert(records, true);
    const said = records.filter((record) => SAID.has(record.kind) && !this.#own.has(record.client_id)).slice(-3);
    if (said.length) byId("said").textContent = said.map((r) => `${named(r.machine)} ${r.text}`).join(". ");
  }

  /** Streams may get names later than the first entries come. */
  report({ streams }) {
    this.#names = new Map(streams.map((stream) => [String(stream.stream_id), streamName(stream)]));
    for (const place of this.#list.querySelectorAll("[data-stream]")) this.#name(place);
  }

  /** Clients of the page itself, whose leases are shown on request only. */
  own(clients) {
    this.#own = clients;
    this.#filter();
  }

  #insert(records, isNew) {
    for (const record of records) {
      const item = make(["li", { class: `kind-${record.kind}${isNew ? " new" : ""}`, "data-kind": record.kind,
        "data-event": record.event, "data-client": record.lease_id && record.client_id },
        ["time", { datetime: new Date(record.at_ms).toISOString() }, clock(record.at_ms)],
        ["div", { class: "what" },
          record.machine.startsWith("stream ")
            ? ["b", { "data-stream": record.stream_id }, record.machine]
            : ["b", {}, named(record.machine)],
          " ", record.text,
          record.event && record.kind === "state" ? ["span", { class: "more" }, ` ${record.event}`] : null,
          ...(record.stream_id && record.lease_id && record.kind !== "state"
            ? [["span", {}, " "], ["span", { class: "more", "data-stream": record.stream_id }, `stream ${record.stream_id}`]]
            : [])]]);
      for (const place of item.querySelectorAll("[data-stream]")) this.#name(place);
      item.hidden = !this.#isShown(item);
      this.#list.prepend(item);
    }
    while (this.#list.children.length > KEPT) this.#list.lastChild.remove();
  }

  #name(place) {
    const name = this.#names.get(place.dataset.stream);
    if (name && place.textContent !== name) place.textContent = name;
  }

  #isShown({ dataset }) {
    const isTicked = (value) => byId("kinds").querySelector(`[value="${value}"]`)?.checked ?? true;
    return isTicked(dataset.kind) && (isTicked("own") || !this.#own.has(Number(dataset.client)));
  }

  #filter() {
    for (const item of this.#list.children) item.hidden = !this.#isShown(item);
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
