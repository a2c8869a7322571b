// The last minute of each stream: rate, latency and losses, once a second.

const KEPT = 60;
const WINDOW = 3; // reports come once a second, so a shorter window would show 0 and double in turn

export class History {
  #streams = new Map();
  #totals = new Map();

  /** Take the figures of all streams, without those of the page's own clients. */
  add(streams, own) {
    const now = performance.now() / 1000;
    for (const stream of streams) {
      const consumers = stream.consumers
        .filter((consumer) => !own.has(consumer.client_id))
        .map((consumer) => ({ ...consumer, drops_per_s: this.#perSecond(stream.stream_id, consumer, now) }));
      const past = this.#streams.get(stream.stream_id) ?? { rate: [], latency: [], drops: [], usual: null };
      const latencies = consumers.map((consumer) => consumer.latency_s).filter((latency) => latency != null);
      keep(past.rate, stream.frames_per_s);
      keep(past.latency, latencies.length ? Math.max(...latencies) : null);
      keep(past.drops, consumers.length ? sum(consumers, "drops_per_s") : null);
      if (stream.frames_per_s > 0) past.usual = stream.frames_per_s;
      this.#streams.set(stream.stream_id, { ...past, figures: stream, consumers });
    }
  }

  /** Lists of the last minute, the latest figures and the consumers with their losses a second. */
  of(streamId) {
    return this.#streams.get(streamId);
  }

  #perSecond(streamId, consumer, now) {
    const key = `${streamId} ${consumer.client_id}`;
    const total = consumer.drops_gap + consumer.drops_late;
    let marks = this.#totals.get(key) ?? [];
    if (marks.length && marks.at(-1).total > total) marks = [];
    marks = [...marks.slice(-WINDOW), { now, total }];
    this.#totals.set(key, marks);
    const [first] = marks;
    return now > first.now ? (total - first.total) / (now - first.now) : 0;
  }
}

/** A line through the values, from 0 to the largest; a gap where there is none. */
export function sparkline(values, label) {
  const top = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const lines = [];
  let line = [];
  values.forEach((value, index) => {
    if (value == null) {
      lines.push(line);
      line = [];
    } else line.push(`${60 - values.length + index},${(15 - (14 * value) / top).toFixed(1)}`);
  });
  lines.push(line);
  return ["svg", { class: "spark", viewBox: "0 0 60 16", preserveAspectRatio: "none", role: "img", "aria-label": label },
    ...lines.filter((points) => points.length > 1).map((points) => ["polyline", { points: points.join(" ") }])];
}

function keep(values, value) {
  values.push(value);
  if (values.length > KEPT) values.shift();
}

function sum(consumers, what) {
  return consumers.reduce((total, consumer) => total + consumer[what], 0);
}
