// A statechart, drawn from the machine's class when the project was built, with the active state lit
// and the last transition running along its arrow.

const STEP_MS = 900;
const WAITING = 4;
const pictures = new Map();

async function picture(name) {
  if (!pictures.has(name)) {
    const response = await fetch(`/static/charts/${name}.svg`);
    pictures.set(name, new DOMParser().parseFromString(await response.text(), "image/svg+xml"));
  }
  return document.importNode(pictures.get(name).documentElement, true);
}

export class ChartView {
  #machine = null;
  #svg = null;
  #nodes = new Map();
  #edges = [];
  #steps = [];
  #running = false;

  constructor(place, path, lastStep) {
    this.place = place;
    this.path = path;
    this.lastStep = lastStep;
  }

  /** Draw a machine: { name, chart, path, last }. */
  async show(machine) {
    const before = this.#machine;
    this.#machine = machine;
    this.#steps = [];
    if (before?.chart !== machine.chart) {
      const svg = await picture(machine.chart);
      if (this.#machine !== machine) return; // another one was chosen meanwhile
      this.#adopt(svg);
    }
    this.place.dataset.machine = machine.name;
    this.#light(machine.path);
    this.#mark(machine.last);
    this.#tell(machine.last);
  }

  /** The chosen machine went from one state to another. */
  step(record) {
    if (!record.target || !this.#svg) return;
    this.#steps.push(record);
    if (this.#steps.length > WAITING) this.#steps.splice(0, this.#steps.length - WAITING);
    if (!this.#running) this.#run();
  }

  /** A report says where it is; what is still being shown is on its way there. */
  settle(machine) {
    if (machine.name !== this.#machine?.name) {
      this.show(machine);
    } else if (!this.#running && machine.path && machine.path !== this.place.dataset.path) {
      this.#light(machine.path);
    }
  }

  #adopt(svg) {
    svg.removeAttribute("width");
    svg.removeAttribute("height");
    const [, , width] = svg.getAttribute("viewBox").split(/\s+/).map(Number);
    svg.setAttribute("width", Math.round(width * 1.33));
    svg.setAttribute("aria-hidden", "true");
    this.#nodes.clear();
    this.#edges = [];
    for (const group of svg.querySelectorAll("g.node, g.cluster, g.edge")) {
      const title = group.querySelector("title").textContent;
      if (group.classList.contains("edge")) {
        const [tail, head] = title.split("->").map(vertex);
        const events = group.textContent.match(/\b[A-Z][A-Z_]+\b/g) ?? [];
        this.#edges.push({ group, tail, head, events });
      } else {
        this.#nodes.set(title.replace(/^cluster_/, ""), group);
      }
    }
    // The browser would show them as tooltips.
    for (const title of svg.querySelectorAll("title")) title.remove();
    this.#svg = svg;
    this.place.replaceChildren(svg);
    // Text was placed by the widths of a font that need not be the one at hand.
    for (const group of svg.querySelectorAll("g.node")) {
      const box = group.querySelector("path")?.getBBox();
      for (const text of box ? group.querySelectorAll("text") : []) {
        text.setAttribute("text-anchor", "middle");
        text.setAttribute("x", box.x + box.width / 2);
      }
    }
  }

  #light(path) {
    this.place.dataset.path = path;
    const names = path ? path.split(".") : [];
    const inner = names.at(-1);
    for (const [name, group] of this.#nodes) {
      const cluster = group.classList.contains("cluster");
      group.classList.toggle("lit", !cluster && name === inner);
      group.classList.toggle("around", cluster && names.includes(name));
    }
    this.path.textContent = names.join(" › ");
  }

  #mark(record) {
    const edge = record && this.#edgeOf(record);
    for (const other of this.#edges) other.group.classList.toggle("taken", other === edge);
    return edge;
  }

  #tell(record) {
    this.lastStep.textContent = record?.target
      ? `Last transition at ${new Date(record.at_ms).toLocaleTimeString()}: ` +
        `${record.origin.split(".").at(-1) || "start"} → ${record.target.split(".").at(-1)}` +
        (record.event ? ` on ${record.event}` : "")
      : "No transition seen yet.";
  }

  /** The arrow that a transition took: labelled with the event, from the innermost state that has one. */
  #edgeOf({ origin, target, event }) {
    if (!event) return undefined;
    const from = ["ROOT", ...origin.split(".")];
    const to = target.split(".");
    return this.#edges
      .filter(({ tail, head, events }) => events.includes(event) && from.includes(tail) && to.includes(head))
      .sort((a, b) => from.indexOf(b.tail) - from.indexOf(a.tail) || to.indexOf(b.head) - to.indexOf(a.head))[0];
  }

  async #run() {
    this.#running = true;
    while (this.#steps.length) {
      const record = this.#steps.shift();
      const machine = this.#machine;
      const edge = this.#mark(record);
      this.#tell(record);
      const left = this.#nodes.get(record.origin.split(".").at(-1));
      left?.classList.add("left");
      if (edge) await this.#travel(edge.group);
      left?.classList.remove("left");
      if (this.#machine?.name === machine?.name) this.#light(record.target);
      if (this.#steps.length) await new Promise((done) => setTimeout(done, STEP_MS / 3));
    }
    this.#running = false;
  }

  /** A point runs along an arrow. */
  async #travel(group) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden) return;
    const line = group.querySelector("path");
    const runner = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    runner.setAttribute("r", 6);
    runner.classList.add("runner");
    line.after(runner);
    group.classList.add("moving");
    const length = line.getTotalLength();
    const began = performance.now();
    await new Promise((done) => {
      const move = (now) => {
        const part = Math.min(1, (now - began) / STEP_MS);
        const { x, y } = line.getPointAtLength(length * part);
        runner.setAttribute("cx", x);
        runner.setAttribute("cy", y);
        if (part < 1) requestAnimationFrame(move);
        else done();
      };
      requestAnimationFrame(move);
      setTimeout(done, 2 * STEP_MS); // frames stop coming in a tab that is hidden
    });
    runner.remove();
    group.classList.remove("moving");
  }
}

/** The state that an end of an arrow stands for. */
function vertex(id) {
  return id.replace(/__(initial|any)$/, "");
}
