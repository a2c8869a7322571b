// The connection to the driver. EventSource comes back by itself after most failures; this also
// comes back after a refusal, for instance while the driver is being restarted.

const AGAIN_MS = 1000;
const KINDS = ["own", "hello", "happened", "messages", "report", "ages", "traffic", "problem", "trouble"];

export function listen(parts) {
  let source = null;
  const open = () => {
    source = new EventSource("/events");
    source.onopen = () => parts.link("live");
    source.onerror = () => {
      parts.link("lost");
      source.close();
      setTimeout(open, AGAIN_MS);
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => parts[kind](JSON.parse(event.data)));
    }
  };
  open();
  // A browser may keep a page that was left, its connections with it.
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && open());
}

/** Frames of some streams, for as long as they are the ones that matter. */
export class Frames {
  #source = null;
  #streams = "";
  #timer = null;

  constructor(onFrame, onRefused) {
    this.onFrame = onFrame;
    this.onRefused = onRefused;
  }

  want(ids) {
    const streams = [...ids].sort((a, b) => a - b).slice(0, 64).join(",");
    if (streams === this.#streams) return;
    this.#streams = streams;
    clearTimeout(this.#timer);
    // At once where nothing is wanted: a page that is left runs no timers.
    if (streams) this.#timer = setTimeout(() => this.#open(), 100);
    else this.#open();
  }

  #open() {
    this.#source?.close();
    this.#source = null;
    if (!this.#streams) return;
    const address = `/frames?streams=${this.#streams}`;
    const source = new EventSource(address);
    this.#source = source;
    source.addEventListener("frame", (event) => this.onFrame(JSON.parse(event.data)));
    source.onerror = async () => {
      source.close();
      if (this.#source !== source) return;
      this.#source = null;
      const refusal = await refused(address);
      if (refusal) this.onRefused(refusal);
      else this.#timer = setTimeout(() => this.#open(), AGAIN_MS);
    };
  }
}

/** Why the driver says no; empty if it said nothing, or says yes by now. */
async function refused(address) {
  const given = new AbortController();
  try {
    const response = await fetch(address, { signal: given.signal });
    return response.status === 403 ? await response.text() : "";
  } catch {
    return "";
  } finally {
    given.abort();
  }
}
