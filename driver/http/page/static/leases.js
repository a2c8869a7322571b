// The leases in force, with the time each of them has left.

import { byId, fill, leaf, short, toneOf } from "./words.js";

const MOST = 100;

export class Leases {
  #longest = 1;
  #own = new Set();
  #names = new Map();

  constructor(choose) {
    byId("leases").addEventListener("click", (event) => {
      const machine = event.target.closest("[data-machine]")?.dataset.machine;
      if (machine) choose(machine);
    });
  }

  own(clients) {
    this.#own = new Set(clients);
  }

  report({ leases, streams }) {
    this.#names = new Map((streams || []).map((stream) => [stream.stream_id, stream.name]));
    this.#longest = Math.max(this.#longest, ...leases.map((lease) => lease.expires_in_ms));
    fill(byId("leases"), leases.slice(0, MOST).map((lease) => this.#row(lease)));
    byId("no-leases").hidden = leases.length > 0 && leases.length <= MOST;
    byId("no-leases").textContent = leases.length
      ? `${leases.length - MOST} more.`
      : "No client holds a lease.";
  }

  #row(lease) {
    const left = Math.max(0, lease.expires_in_ms);
    const tenths = Math.round((10 * left) / this.#longest);
    return ["tr", {},
      ["td", {}, ["button", {
        type: "button", "data-machine": `lease ${lease.lease_id}`,
        title: `Show the statechart of lease ${lease.lease_id}`,
      }, short(lease.lease_id)]],
      ["td", {}, lease.role.toLowerCase()],
      ["td", { title: `client ${lease.client_id}` },
        this.#own.has(lease.client_id) ? `${lease.client_id} (this page)`
          : lease.client ? `${lease.client_id} · ${lease.client}` : lease.client_id],
      ["td", { title: this.#names.get(lease.stream_id) || "" }, lease.stream_id],
      ["td", {}, ["span", { class: "state", "data-tone": toneOf(lease.state) }, leaf(lease.state)]],
      ["td", {},
        ["progress", { max: 10, value: tenths, class: tenths < 4 ? "low" : "" , "aria-hidden": "true" }],
        ` ${(left / 1000).toFixed(1)} s`]];
  }
}
