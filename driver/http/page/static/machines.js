// Which machines there are, where each one is and how it got there.

import { byId, clientName, fill, short, streamName } from "./words.js";

const KEPT_ENDED = 12;

export class Machines {
  name = "driver";
  #known = new Map([["driver", { name: "driver", chart: "DriverLifecycle", path: "", last: null }]]);
  #ended = [];
  #own = new Set();

  /** Clients of the page itself; their leases are not offered. */
  own(clients) {
    this.#own = clients;
  }

  restart(records) {
    this.#known.clear();
    this.#ended = [];
    for (const record of records) this.happened(record);
  }

  /** A transition, or something else that a machine did. */
  happened(record) {
    if (!record.target || (record.lease_id && this.#own.has(record.client_id))) return;
    const machine = this.#entry(record.machine, record.chart);
    machine.path = record.target;
    machine.last = record;
    if (/(^|\.)Closed$/.test(record.target)) this.#end(machine);
  }

  report(report) {
    this.#set("driver", "DriverLifecycle", report.driver.state);
    for (const stream of report.streams) {
      this.#set(`stream ${stream.stream_id}`, "StreamLifecycle", stream.state);
    }
    for (const lease of this.#others(report)) {
      this.#set(`lease ${lease.lease_id}`, "LeaseLifecycle", lease.state);
    }
    this.#offer(report);
  }

  choose(name) {
    this.name = name;
    byId("machine").value = name;
  }

  chosen() {
    return this.#known.get(this.name) ?? { name: this.name, chart: chartOf(this.name), path: "", last: null };
  }

  #entry(name, chart) {
    if (!this.#known.has(name)) this.#known.set(name, { name, chart, path: "", last: null });
    return this.#known.get(name);
  }

  #set(name, chart, path) {
    this.#entry(name, chart).path = path;
  }

  #end(machine) {
    this.#ended = [...this.#ended.filter((name) => name !== machine.name), machine.name];
    while (this.#ended.length > KEPT_ENDED) {
      const name = this.#ended.shift();
      if (name !== this.name) this.#known.delete(name);
    }
  }

  #others(report) {
    return report.leases.filter((lease) => !this.#own.has(lease.client_id));
  }

  #offer(report) {
    const captions = new Map([
      ...report.streams.map((stream) => [`stream ${stream.stream_id}`, streamName(stream)]),
      ...report.leases.map((lease) => [`lease ${lease.lease_id}`, `lease of ${clientName(lease)} on ${lease.stream_id}`]),
    ]);
    const groups = [
      ["Driver", ["driver"]],
      ["Streams", report.streams.map((stream) => `stream ${stream.stream_id}`)],
      ["Leases", this.#others(report).map((lease) => `lease ${lease.lease_id}`)],
      ["Ended", this.#ended.filter((name) => this.#known.has(name)).reverse()],
    ];
    const select = byId("machine");
    fill(
      select,
      groups
        .filter(([, names]) => names.length)
        .map(([label, names]) => [
          "optgroup",
          { label },
          ...names.map((name) => ["option", { value: name }, captions.get(name) ?? caption(name)]),
        ]),
    );
    if (select.value !== this.name) select.value = this.name;
  }
}

function caption(name) {
  const [kind, id] = name.split(" ");
  return kind === "lease" ? `lease ${short(id)}` : name;
}

function chartOf(name) {
  if (name.startsWith("stream ")) return "StreamLifecycle";
  return name === "driver" ? "DriverLifecycle" : "LeaseLifecycle";
}
