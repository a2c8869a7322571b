// The leases in force, with the time each of them has left.

import { byId, clientName, fill, leaf, short, streamName, toneOf } from "./words.js";

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

  /** Clients of the page itself, which are left out. */
  own(clients) {
    this.#own = clients;
  }

  report({ leases, streams }) {
    this.#names = new Map(streams.map((stream) => [stream.stream_id, streamName(stream)]));
    const shown = leases.filter((lease) => !this.#own.has(lease.client_id));
    this.#longest = Math.max(this.#longest, ...shown.map((lease) => lease.expires_in_ms));
    fill(byId("leases"), shown.slice(0, MOST).map((lease) => this.#row(lease)));
    const own = leases.length - shown.length;
    const notes = [
      !shown.length && "No client holds a lease.",
      shown.length > MOST && `${shown.length - MOST} more.`,
      own && `Not shown: ${own} of this page, for its pictures.`,
    ].filter((note) => note);
    byId("no-leases").hidden = !notes.length;
    byId("no-leases").textContent = notes.join(" ");
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
      ["td", { title: lease.client },
        lease.client ? `${clientName(lease)} · ${lease.client_id}` : lease.client_id],
      ["td", {}, this.#names.get(lease.stream_id) ?? lease.stream_id],
      ["td", {}, ["span", { class: "state", "data-tone": toneOf(lease.state) }, leaf(lease.state)]],
      ["td", {},
        ["progress", { max: 10, value: tenths, class: tenths < 4 ? "low" : "" , "aria-hidden": "true" }],
        ` ${(left / 1000).toFixed(1)} s`]];
  }
}
