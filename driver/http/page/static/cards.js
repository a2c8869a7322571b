// A card for each stream: what it shows, who writes and reads it, how fast, what was lost.

import { Frames } from "./listen.js";
import { byId, bytes, fill, leaf, make, perSecond, short, toneOf } from "./words.js";

const MOST = 60;

export class Cards {
  #cards = new Map();
  #streams = [];
  #leases = new Map();
  #rates = { streams: {}, consumers: [], viewers: [] };
  #frames;
  #visible = new Set();
  #observer;
  #choose;
  #chosen = "";

  constructor(choose) {
    this.#choose = choose;
    this.#frames = new Frames((frame) => this.#frame(frame), (text) => this.problem(text));
    this.#observer = new IntersectionObserver((entries) => this.#onSeen(entries), { rootMargin: "80px" });
    byId("find").addEventListener("input", () => this.#render());
    byId("images").addEventListener("change", () => {
      localStorage.setItem("images", byId("images").checked ? "on" : "off");
      this.#want();
      this.#render();
    });
    byId("images").checked = localStorage.getItem("images") !== "off";
    document.addEventListener("visibilitychange", () => this.#want());
  }

  report(report) {
    this.#streams = report.streams;
    this.#leases = new Map(report.leases.map((lease) => [lease.lease_id, lease]));
    this.#render();
  }

  rates(rates) {
    this.#rates = rates;
    this.#render();
  }

  happened(record) {
    const card = this.#cards.get(record.stream_id);
    if (!card || !["grant", "end", "epoch"].includes(record.kind)) return;
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
    const title = make(["h3", { id: `stream-${id}` }, `Stream ${id}`]);
    const facts = make(["dl", { class: "facts" }]);
    const chips = make(["div", { class: "chips" }]);
    const element = make(["article", { class: "card", "data-stream": id, "aria-labelledby": `stream-${id}` },
      ["div", { class: "picture" }, none, image, caption],
      ["div", { class: "words" },
        ["header", {}, title, state],
        facts, chips]]);
    chips.addEventListener("click", (event) => {
      const machine = event.target.closest("[data-machine]")?.dataset.machine;
      if (machine) this.#choose(machine);
    });
    const card = { id, element, title, image, none, caption, state, facts, chips, frame: null };
    this.#cards.set(id, card);
    this.#observer.observe(element);
    element.classList.toggle("chosen", this.#chosen === `stream ${id}`);
    return card;
  }

  #write(card, stream) {
    card.title.textContent = stream.name ? `Stream ${card.id} · ${stream.name}` : `Stream ${card.id}`;
    card.state.textContent = leaf(stream.state);
    card.state.dataset.tone = toneOf(stream.state);
    card.element.dataset.state = leaf(stream.state);
    const rate = this.#rates.streams[card.id]?.rate_hz;
    const own = new Set(this.#rates.viewers);
    const heard = this.#rates.consumers.filter(
      (consumer) => consumer.stream_id === card.id && !own.has(consumer.client_id),
    );
    const gap = sum(heard, "drops_gap");
    const late = sum(heard, "drops_late");
    const producer = this.#leases.get(stream.producer_lease_id);
    const live = stream.producer_lease_id !== null;
    const speed = live && rate != null && card.frame ? ` · ${bytes(rate * card.frame.nbytes)}/s` : "";
    fill(card.facts, [
      ["dt", {}, "rate"], ["dd", { class: "big" }, live ? `${perSecond(rate)}${speed}` : "–"],
      ["dt", {}, "drops"],
      ["dd", gap + late ? { class: "lost", title: `${gap} missed, ${late} overwritten while read` } : {},
        heard.length ? gap + late : "–"],
      ["dt", {}, "epoch"], ["dd", { title: stream.epoch ?? "" }, stream.epoch ? short(stream.epoch) : "none"],
      ["dt", {}, "producer"], ["dd", {}, producer ? `client ${producer.client_id}${producer.client ? ` · ${producer.client}` : ""}` : "none"],
      ...(card.frame?.origin ? [["dt", {}, "bridged from"], ["dd", {}, card.frame.origin]] : []),
      ["dt", {}, "consumers"], ["dd", {}, stream.consumer_lease_ids.length],
      ["dt", {}, "slots"], ["dd", {}, `${stream.header_nslots} × ${stream.strides_bytes.map(bytes).join(", ")}`],
    ]);
    const held = [stream.producer_lease_id, ...stream.consumer_lease_ids]
      .map((id) => this.#leases.get(id))
      .filter((lease) => lease);
    fill(card.chips, held.slice(0, 12).map((lease) => [
      "button",
      {
        type: "button", class: "chip", "data-machine": `lease ${lease.lease_id}`,
        title: `Show the statechart of lease ${lease.lease_id}`,
      },
      `${lease.role.toLowerCase()} ${lease.client_id}`,
      own.has(lease.client_id) ? ["span", { class: "own" }, " · this page"] : null,
    ]));
    this.#picture(card, live);
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
    const looked = byId("images").checked && !document.hidden;
    this.#frames.want(looked ? this.#visible : []);
  }
}

function sum(consumers, what) {
  return consumers.reduce((total, consumer) => total + consumer[what], 0);
}
