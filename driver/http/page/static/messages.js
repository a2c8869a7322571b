// What driver and clients send each other, as a sequence diagram: oldest first, a line for each of them.

import { byId, clientName, fill, streamName } from "./words.js";

const KEPT = 300;
const ROWS = 60;
const CLIENTS = 6;
const ROW = 24;
const EVERY_MS = 300;

export class Messages {
  #records = new Map();
  #names = new Map();
  #own = new Set();
  #timer = null;
  #place = byId("messages");

  constructor() {
    byId("message-stream").addEventListener("change", () => this.#draw());
    new ResizeObserver(() => this.#soon()).observe(this.#place);
  }

  restart() {
    this.#records.clear();
  }

  add(records) {
    for (const record of records) this.#records.set(record.number, record);
    for (const number of [...this.#records.keys()].slice(0, -KEPT)) this.#records.delete(number);
    this.#soon();
  }

  /** Clients of the page itself, which are left out. */
  own(clients) {
    this.#own = clients;
    this.#soon();
  }

  report({ leases, streams }) {
    for (const lease of leases) this.#names.set(lease.client_id, clientName(lease));
    const select = byId("message-stream");
    const chosen = select.value;
    fill(select, [["option", { value: "" }, "all streams"],
      ...streams.map((stream) => ["option", { value: stream.stream_id }, streamName(stream)])]);
    if (select.value !== chosen) select.value = chosen;
    this.#soon();
  }

  #soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#draw();
    }, EVERY_MS);
  }

  #shown() {
    const stream = Number(byId("message-stream").value);
    return [...this.#records.values()]
      .filter((record) => !this.#own.has(record.client_id) && (!stream || !record.stream_id || record.stream_id === stream))
      .slice(-ROWS);
  }

  #draw() {
    const records = this.#shown();
    byId("no-messages").hidden = records.length > 0;
    const clients = [...new Set(records.filter((record) => !record.to_all).map((record) => record.client_id))].slice(-CLIENTS);
    const width = Math.max(this.#place.clientWidth - 2, 300);
    const step = (width - 60) / (clients.length + 1);
    const x = new Map([["driver", 60 + step / 2], ...clients.map((id, index) => [id, 60 + step * (index + 1.5)])]);
    const height = ROW * (records.length + 1);
    const scrolled = this.#place.scrollHeight - this.#place.scrollTop - this.#place.clientHeight > ROW;
    fill(byId("message-heads"), [["span", {}, "time"], ["span", {}, "driver"],
      ...clients.map((id) => ["span", { title: `client ${id}` }, this.#names.get(id) ?? `client ${id}`])]);
    fill(byId("message-rows"), [["svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
      "aria-label": `The last ${records.length} messages` },
      ...[...x.values()].map((at) => ["line", { class: "life", x1: at, x2: at, y1: 0, y2: height }]),
      ...records.flatMap((record, index) => row(record, x, ROW * (index + 0.75), width))]]);
    if (!scrolled) this.#place.scrollTop = this.#place.scrollHeight;
  }
}

/** The time, an arrow and its text; a message to all goes across. */
function row(record, x, y, width) {
  const driver = x.get("driver");
  const client = record.to_all ? width - 6 : x.get(record.client_id);
  if (client == null) return []; // one of the clients that there was no room for
  const [from, to] = record.to_driver ? [client, driver] : [driver, client];
  const back = to > from ? -1 : 1;
  const times = record.count > 1 ? ` × ${record.count}` : "";
  return [
    ["text", { class: "when", x: 0, y: y + 4 }, new Date(record.at_ms).toLocaleTimeString([], { hour12: false })],
    ["g", { class: `message ${record.tone}${record.to_all ? " all" : ""}` },
      ["title", {}, `${record.to_driver ? `client ${record.client_id} → driver` :
        `driver → ${record.to_all ? "all clients" : `client ${record.client_id}`}`}, stream ${record.stream_id}`],
      ["line", { x1: from, x2: to, y1: y, y2: y }],
      ["path", { d: `M${to} ${y}l${7 * back} -3.5v7z` }],
      ["text", { x: (driver + client) / 2, y: y - 4 }, record.text + times]],
  ];
}
