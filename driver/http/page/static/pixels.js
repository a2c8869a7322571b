// One stream's newest frame, opened: zoom, values, channels, colour maps, histogram, freeze, save.

import { byId, fill, streamName } from "./words.js";

const PAUSE_MS = 250;
const BINS = 64;
const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array,
  int32: Int32Array, uint64: BigUint64Array, int64: BigInt64Array, float32: Float32Array, float64: Float64Array,
};
// A few points of each map; between them it is a straight line.
const MAPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  viridis: [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]],
  inferno: [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]],
  "blue–red": [[40, 70, 200], [235, 235, 235], [190, 20, 40]],
};

export class Pixels {
  #dialog = byId("pixels");
  #canvas = byId("pixel-canvas");
  #stream = null;
  #round = 0;
  #frozen = false;
  #frame = null;
  #zoom = 1;
  #at = null;

  /** `opened` is called with the stream that is open, then with null. */
  constructor(opened) {
    this.opened = opened;
    fill(byId("pixel-map"), Object.keys(MAPS).map((name) => ["option", { value: name }, name]));
    byId("pixel-map").value = "viridis";
    this.#dialog.addEventListener("close", () => {
      this.#stream = null;
      this.opened(null);
    });
    byId("pixel-close").addEventListener("click", () => this.#dialog.close());
    byId("pixel-freeze").addEventListener("click", () => this.#freeze(!this.#frozen));
    byId("pixel-save").addEventListener("click", () => this.#save());
    for (const id of ["pixel-channel", "pixel-map"]) byId(id).addEventListener("change", () => this.#draw());
    byId("pixel-zoom").addEventListener("change", (event) => this.#enlarge(Number(event.target.value)));
    this.#canvas.addEventListener("mousemove", (event) => this.#point(event));
    this.#canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.#enlarge(event.deltaY < 0 ? this.#zoom * 2 : this.#zoom / 2);
    }, { passive: false });
  }

  /** Open the newest frames of a stream. */
  open(stream) {
    this.#stream = stream.stream_id;
    this.#frame = this.#at = null;
    byId("pixel-title").textContent = streamName(stream);
    byId("pixel-note").textContent = "waiting for a frame";
    byId("pixel-channel").replaceChildren();
    byId("pixel-value").textContent = "";
    this.#canvas.width = this.#canvas.height = 0;
    this.#freeze(false);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.opened(this.#stream);
    this.#follow(++this.#round);
  }

  async #follow(round) {
    while (this.#round === round && this.#stream !== null) {
      if (!this.#frozen && !document.hidden) {
        const frame = await load(this.#stream);
        if (this.#round !== round || this.#stream === null) return;
        if (frame.text) byId("pixel-note").textContent = frame.text;
        else if (!this.#frozen) this.#show(frame);
      }
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }

  #show(frame) {
    const isFirst = this.#frame === null || this.#frame.layers.join() !== frame.layers.join();
    this.#frame = frame;
    if (isFirst) {
      fill(byId("pixel-channel"), [["option", { value: -1 }, "as shown"],
        ...frame.layers.map((name, index) => ["option", { value: index }, name])]);
      byId("pixel-channel").value = -1;
      this.#enlarge(Math.min(1, byId("pixel-view").clientWidth / frame.width));
    }
    const left = frame.step > 1 ? `, every ${frame.step}th pixel` : "";
    byId("pixel-note").textContent = `#${frame.seq} · ${frame.shape.join(" × ")} ${frame.dtype}${left}`;
    this.#draw();
  }

  #draw() {
    const frame = this.#frame;
    if (!frame) return;
    const layer = Number(byId("pixel-channel").value);
    byId("pixel-map").disabled = layer < 0;
    this.#canvas.width = frame.width;
    this.#canvas.height = frame.height;
    const context = this.#canvas.getContext("2d");
    if (layer < 0) context.drawImage(frame.picture, 0, 0, frame.width, frame.height);
    else context.putImageData(coloured(frame, layer, MAPS[byId("pixel-map").value]), 0, 0);
    this.#describe(layer);
    this.#read();
  }

  #describe(layer) {
    const layers = layer < 0 ? this.#frame.layers.map((_, index) => index).slice(0, 4) : [layer];
    const found = layers.map((index) => histogram(this.#frame, index));
    const top = Math.max(...found.flatMap(({ counts }) => counts), 1);
    fill(byId("pixel-histogram"), [["svg", { viewBox: `0 0 ${BINS} 40`, preserveAspectRatio: "none", role: "img",
      "aria-label": "Histogram" },
      ...found.map(({ counts }, index) => ["polyline", { class: layers.length > 1 ? `of-${this.#frame.layers[index].replace(" ", "-")}` : "",
        points: counts.map((count, bin) => `${bin},${(39 - (38 * count) / top).toFixed(1)}`).join(" ") }])]]);
    fill(byId("pixel-range"), found.map(({ low, high, mean }, index) =>
      ["span", {}, `${this.#frame.layers[layers[index]]}: ${number(low)} to ${number(high)}, mean ${number(mean)}`]));
  }

  #enlarge(zoom) {
    this.#zoom = Math.min(32, Math.max(1 / 16, zoom));
    const choices = byId("pixel-zoom");
    const shown = `${Math.round(this.#zoom * 100)} %`;
    const sizes = [0.25, 0.5, 1, 2, 4, 8, 16];
    fill(choices, [...(sizes.includes(this.#zoom) ? [] : [["option", { value: this.#zoom }, shown]]),
      ...sizes.map((size) => ["option", { value: size }, `${size * 100} %`])]);
    choices.value = this.#zoom;
    this.#canvas.style.width = `${(this.#frame?.width ?? 0) * this.#zoom}px`;
    this.#canvas.classList.toggle("large", this.#zoom > 1);
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    this.#at = [
      Math.floor(((event.clientX - box.left) / box.width) * this.#canvas.width),
      Math.floor(((event.clientY - box.top) / box.height) * this.#canvas.height),
    ];
    this.#read();
  }

  #read() {
    const frame = this.#frame;
    if (!frame || !this.#at) return;
    const [x, y] = this.#at;
    if (x < 0 || y < 0 || x >= frame.width || y >= frame.height) return;
    const values = frame.layers.map((name, layer) => `${name} ${number(frame.values[index(frame, layer, x, y)])}`);
    byId("pixel-value").textContent = `row ${y * frame.step}, column ${x * frame.step}: ${values.join(", ")}`;
  }

  #freeze(frozen) {
    this.#frozen = frozen;
    byId("pixel-freeze").textContent = frozen ? "Go on" : "Freeze";
    byId("pixel-freeze").setAttribute("aria-pressed", frozen);
  }

  #save() {
    if (!this.#frame) return;
    const { seq } = this.#frame;
    this.#canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `stream-${this.#stream}-frame-${seq}.png`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }
}

/** A frame with its values and its picture, or { text } where there is none. */
async function load(stream) {
  try {
    const response = await fetch(`/pixels?stream=${stream}`);
    if (response.status !== 200) return { text: (await response.text()) || "no new frame" };
    const body = await response.arrayBuffer();
    const length = new DataView(body).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, length)));
    const picture = new Blob([new Uint8Array(body, 4 + length, head.picture_bytes)]);
    const values = new ARRAYS[head.dtype](body.slice(4 + length + head.picture_bytes));
    return { ...head, values, picture: await createImageBitmap(picture) };
  } catch {
    return { text: "no connection to the driver" };
  }
}

/** The place of a value: layers lie one behind the other, or side by side in each pixel. */
function index({ width, height, layers, planar }, layer, x, y) {
  return planar ? (layer * height + y) * width + x : (y * width + x) * layers.length + layer;
}

function* valuesOf(frame, layer) {
  const begin = index(frame, layer, 0, 0);
  const step = frame.planar ? 1 : frame.layers.length;
  const end = begin + step * frame.width * frame.height;
  for (let at = begin; at < end; at += step) yield Number(frame.values[at]);
}

function rangeOf(frame, layer) {
  let [low, high, sum, count] = [Infinity, -Infinity, 0, 0];
  for (const value of valuesOf(frame, layer)) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
    sum += value;
    count += 1;
  }
  return { low, high, mean: sum / count };
}

function histogram(frame, layer) {
  const { low, high, mean } = rangeOf(frame, layer);
  const counts = new Array(BINS).fill(0);
  const scale = high > low ? (BINS - 1) / (high - low) : 0;
  for (const value of valuesOf(frame, layer)) {
    if (Number.isFinite(value)) counts[Math.round((value - low) * scale)] += 1;
  }
  return { low, high, mean, counts };
}

/** A layer in the colours of a map, from its smallest value to its largest. */
function coloured(frame, layer, map) {
  const { low, high } = rangeOf(frame, layer);
  const table = Array.from({ length: 256 }, (_, level) => {
    const at = (level / 255) * (map.length - 1);
    const first = Math.min(Math.floor(at), map.length - 2);
    return map[first].map((value, channel) => value + (map[first + 1][channel] - value) * (at - first));
  });
  const image = new ImageData(frame.width, frame.height);
  const scale = high > low ? 255 / (high - low) : 0;
  let at = 0;
  for (const value of valuesOf(frame, layer)) {
    const colour = table[Math.round((value - low) * scale)] ?? [255, 0, 255]; // not a number
    image.data.set(colour, at);
    image.data[at + 3] = 255;
    at += 4;
  }
  return image;
}

function number(value) {
  if (typeof value === "bigint" || Number.isInteger(value)) return String(value);
  return Number.isFinite(value) ? value.toPrecision(5) : String(value);
}
