// A card for each stream: what it shows, who writes and reads it, how fast, what was lost.

import { History, sparkline } from "./history.js";
import { Frames } from "./listen.js";
import { byId, bytes, clientName, duration, fill, leaf, make, perSecond, short, toneOf } from "./words.js";

const MOST = 60;
const COMPACT_FROM = 13; // streams
const LATE_S = 0.5; // a newest frame that is older is late, unless its stream is as slow as that
const LATE_FRAMES = 3;

export class Cards {
  #cards = new Map();
  #streams = [];
  #leases = new Map();
  #own = new Set();
  #history = new History();
  #frames;
  #visible = new Set();
  #observer;
  #choose;
  #open;
  #opened = null;
  #chosen = "";

  /** `choose` shows the statechart of a machine, `open` the picture of a stream. */
  constructor(choose, open) {
    this.#choose = choose;
    this.#open = open;
    this.#frames = new Frames((frame) => this.#frame(frame), (text) => this.problem(text));
    this.#observer = new IntersectionObserver((entries) => this.#onSeen(entries), { rootMargin: "80px" });
    byId("find").addEventListener("input", () => this.#render());
    byId("images").addEventListener("change", () => {
      localStorage.setItem("images", byId("images").checked ? "on" : "off");
      this.#want();
      this.#render();
    });
    byId("images").checked = localStorage.getItem("images") !== "off";
    byId("compact").addEventListener("change", () => {
      localStorage.setItem("compact", byId("compact").checked ? "on" : "off");
      this.#render();
    });
    document.addEventListener("visibilitychange", () => this.#want());
  }

  report(report) {
    this.#streams = report.streams;
    this.#leases = new Map(report.leases.map((lease) => [lease.lease_id, lease]));
    this.#render();
  }

  traffic(streams) {
    this.#history.add(streams, this.#own);
    this.#render();
  }

  /** Clients of the page itself, which are left out. */
  own(clients) {
    this.#own = clients;
    this.#render();
  }

  /** Seconds since the newest frame of each stream. */
  ages(seconds) {
    for (const [id, card] of this.#cards) {
      const age = seconds[id];
      const usual = this.#history.of(id)?.usual ?? 0;
      const isLate = card.live && age > Math.max(LATE_S, usual ? LATE_FRAMES / usual : 2);
      card.age = age == null ? "–" : card.live && !isLate ? "now" : `${duration(age)} ago`;
      card.element.classList.toggle("late", isLate);
      const place = card.facts.querySelector(".age dd");
      if (place && place.textContent !== card.age) place.textContent = card.age;
    }
  }

  happened(record) {
    const card = this.#cards.get(record.stream_id);
    if (!card || !["grant", "end", "epoch"].includes(record.kind)) return;
    if (record.lease_id && this.#own.has(record.client_id)) return;
    card.element.classList.remove("flash");
    void card.element.offsetWidth; // so that the animation begins again
    card.element.classList.add("flash");
  }

  mark(machine) {
    this.#chosen = machine;
    for (const card of this.#cards.values()) {
      card.element.classList.toggle("chosen", machine === `stream ${card.id}`);
    }
  }

  problem(text) {
    byId("no-images").hidden = false;
    byId("no-images").textContent = text;
  }

  #render() {
    const found = byId("find").value.trim().toLowerCase();
    const fitting = this.#streams.filter(
      (stream) => !found || `${stream.stream_id} ${stream.name} ${stream.state}`.toLowerCase().includes(found),
    );
    const shown = fitting.slice(0, MOST);
    const more = byId("more-streams");
    more.hidden = fitting.length === shown.length && fitting.length > 0;
    more.textContent = fitting.length
      ? `${fitting.length - shown.length} more; type part of an id or a name to find one.`
      : this.#streams.length ? "No stream fits." : "No stream yet. A producer that attaches makes one.";
    const chosen = localStorage.getItem("compact");
    const compact = chosen ? chosen === "on" : this.#streams.length >= COMPACT_FROM;
    byId("compact").checked = compact;
    byId("streams").classList.toggle("compact", compact);
    const place = byId("cards");
    const wanted = new Set(shown.map((stream) => stream.stream_id));
    for (const [id, card] of this.#cards) {
      if (wanted.has(id)) continue;
      this.#observer.unobserve(card.element);
      this.#visible.delete(id);
      card.element.remove();
      this.#cards.delete(id);
    }
    shown.forEach((stream, index) => {
      const card = this.#card(stream.stream_id);
      if (place.children[index] !== card.element) place.insertBefore(card.element, place.children[index] ?? null);
      this.#write(card, stream);
    });
    this.#want();
  }

  #card(id) {
    if (this.#cards.has(id)) return this.#cards.get(id);
    const image = make(["img", { alt: "", hidden: true }]);
    const none = make(["span", { class: "none" }]);
    const caption = make(["span", { class: "caption", hidden: true }]);
    const state = make(["button", {
      type: "button", class: "state", title: `Show the statechart of stream ${id}`,
      click: () => this.#choose(`stream ${id}`),
    }]);
    const title = make(["h3", { id: `stream-${id}` }]);
    const facts = make(["dl", { class: "facts" }]);
    const chips = make(["div", { class: "chips" }]);
    const element = make(["article", { class: "card", "data-stream": id, "aria-labelledby": `stream-${id}` },
      ["button", { type: "button", class: "picture", "aria-label": `Open the picture of stream ${id}`,
        click: () => this.#openPicture(id) }, none, image, caption],
      ["div", { class: "words" },
        ["header", {}, title, state,
          ["button", { type: "button", class: "open", "aria-label": `Open the picture of stream ${id}`,
            click: () => this.#openPicture(id) }, "view"]],
        facts, chips]]);
    chips.addEventListener("click", (event) => {
      const machine = event.target.closest("[data-machine]")?.dataset.machine;
      if (machine) this.#choose(machine);
    });
    const card = { id, element, title, image, none, caption, state, facts, chips, frame: null, age: "–", live: false };
    this.#cards.set(id, card);
    this.#observer.observe(element);
    element.classList.toggle("chosen", this.#chosen === `stream ${id}`);
    return card;
  }

  #write(card, stream) {
    fill(card.title, stream.name
      ? [["span", {}, stream.name], ["span", { class: "id" }, ` ${card.id}`]]
      : [["span", {}, `Stream ${card.id}`]]);
    card.state.textContent = leaf(stream.state);
    card.state.dataset.tone = toneOf(stream.state);
    card.element.dataset.state = leaf(stream.state);
    card.live = stream.producer_lease_id !== null;
    const past = this.#history.of(card.id);
    const producer = this.#leases.get(stream.producer_lease_id);
    const consumers = stream.consumer_lease_ids
      .map((id) => this.#leases.get(id))
      .filter((lease) => lease && !this.#own.has(lease.client_id));
    fill(card.facts, [
      ...this.#measured(card, past),
      fact("producer", { title: producer?.client }, producer ? clientName(producer) : "none"),
      fact("consumers", {}, consumers.length),
      ...(card.frame?.origin ? [fact("bridged from", { key: "bridged" }, card.frame.origin)] : []),
      fact("epoch", { title: stream.epoch ?? "" }, stream.epoch ? short(stream.epoch) : "none"),
      fact("slots", {}, `${stream.header_nslots} × ${stream.strides_bytes.map(bytes).join(", ")}`),
    ]);
    fill(card.chips, [producer, ...consumers].filter((lease) => lease).slice(0, 12)
      .map((lease) => chip(lease, past?.consumers)));
    this.#picture(card, card.live);
  }

  #measured(card, past) {
    const figures = card.live ? past?.figures : undefined;
    const consumers = past?.consumers ?? [];
    const rate = figures?.frames_per_s;
    const lost = past?.drops.at(-1);
    const total = consumers.reduce((sum, one) => sum + one.drops_gap + one.drops_late, 0);
    return [
      fact("rate", { class: "big", spark: past?.rate },
        rate == null ? "–" : `${perSecond(rate)} · ${bytes(figures.bytes_per_s ?? 0)}/s`),
      fact("newest frame", { key: "age" }, card.age),
      fact("latency", { spark: past?.latency, title: "of the slowest consumer" }, duration(past?.latency.at(-1))),
      fact("drops", { class: lost > 0 ? "lost" : "", spark: past?.drops, title: `${total} since its consumers attached` },
        lost == null ? "–" : `${lost.toFixed(lost < 10 ? 1 : 0)} /s · ${total}`),
    ];
  }

  #picture(card, live) {
    const on = byId("images").checked;
    const shown = on && card.frame;
    card.image.hidden = card.caption.hidden = !shown;
    card.element.classList.toggle("idle", !live && !shown);
    card.image.style.opacity = live ? 1 : 0.35;
    card.none.textContent = shown
      ? ""
      : !on ? "images are off" : live ? "waiting for a frame" : "no producer is attached";
  }

  #frame(frame) {
    const card = this.#cards.get(frame.stream_id);
    if (!card) return;
    card.frame = frame;
    const shape = frame.shape.join(" × ");
    card.image.src = frame.image;
    card.image.alt = `Newest frame of stream ${card.id}: ${shape} ${frame.dtype}`;
    card.image.classList.toggle("tiny", frame.image.startsWith("data:image/png"));
    card.caption.textContent = `#${frame.seq}  ${shape} ${frame.dtype}`;
    byId("no-images").hidden = true;
    this.#picture(card, true);
  }

  /** The stream whose picture is open, or null. */
  opened(id) {
    this.#opened = id;
    this.#want();
  }

  #openPicture(id) {
    const stream = this.#streams.find((one) => one.stream_id === id);
    if (stream) this.#open(stream);
  }

  #onSeen(entries) {
    for (const entry of entries) {
      const id = Number(entry.target.dataset.stream);
      if (entry.isIntersecting) this.#visible.add(id);
      else this.#visible.delete(id);
    }
    this.#want();
  }

  /** Frames of what can be seen, and of nothing while the page is hidden. */
  #want() {
    const looked = byId("images").checked && !byId("compact").checked && !document.hidden;
    const opened = this.#opened === null || document.hidden ? [] : [this.#opened];
    this.#frames.want(new Set([...opened, ...(looked ? this.#visible : [])]));
  }
}

/** A name and a value, with a line of the last minute where there is one. */
function fact(name, { key = name, class: kind = "", title, spark }, value) {
  return ["div", { class: `fact ${key}` },
    ["dt", {}, name],
    ["dd", { class: kind, title }, spark ? sparkline(spark, `${name} in the last minute`) : null, value]];
}

/** A client that is attached, a consumer with its own losses. */
function chip(lease, consumers = []) {
  const figures = consumers.find((consumer) => consumer.client_id === lease.client_id);
  const drops = figures && figures.drops_gap + figures.drops_late;
  const title = `Show the statechart of the lease of client ${lease.client_id}, ${lease.client}`
    + (figures ? `; ${figures.drops_gap} frames missed, ${figures.drops_late} overwritten while read` : "");
  return ["button",
    { type: "button", class: "chip", "data-machine": `lease ${lease.lease_id}`, title },
    `${lease.role.toLowerCase()} ${clientName(lease)}`,
    drops ? ["span", { class: figures.drops_per_s > 0 ? "losing" : "soft" },
      figures.drops_per_s > 0 ? ` −${figures.drops_per_s.toFixed(1)} /s` : ` −${drops}`] : null];
}
