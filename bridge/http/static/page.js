// Shows /status.json, once a second. Texts are set as text, never as markup.

const PERIOD_MS = 1000;
const pictures = new Map();
let chosen = null;

const byId = (id) => document.getElementById(id);
const number = (value, digits = 1) => value.toFixed(digits);
const listed = (drops) =>
  Object.entries(drops).map(([name, count]) => `${name} ${count}`).join(", ") || "none";

function table(id, columns, rows) {
  const head = document.createElement("tr");
  head.replaceChildren(...columns.map(([title]) => cell("th", title)));
  const lines = rows.map((row) => {
    const line = document.createElement("tr");
    line.replaceChildren(...columns.map(([title, value]) => cell("td", value(row), title)));
    return line;
  });
  byId(id).replaceChildren(head, ...lines);
}

function cell(kind, text, title = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (title.startsWith("drops")) made.className = "long";
  return made;
}

function show(status) {
  byId("instance").textContent = status.instance_id;
  byId("state").textContent = status.state;
  byId("state").classList.remove("trouble");
  table("links", [
    ["link", (l) => l.name], ["direction", (l) => l.direction], ["state", (l) => l.state || `${l.sessions} sessions`],
    ["Mbit/s", (l) => number(l.mbit_s)], ["senders", (l) => l.sources.join(", ")], ["channel", (l) => l.channel],
  ], status.links);
  table("outgoing", [
    ["stream", (s) => `${s.stream} → ${s.wire_id}`], ["link", (s) => s.link], ["state", (s) => s.state],
    ["path", (s) => s.path.join(" > ")], ["frames/s", (s) => number(s.frames_s)], ["share", (s) => `${number(100 * s.share)} %`],
    ["lag", (s) => `${s.lag_frames} frames`], ["drops here", (s) => listed(s.drops)],
  ], status.outgoing);
  table("incoming", [
    ["stream", (s) => `${s.wire_id} → ${s.stream}`], ["state", (s) => s.state],
    ["from", (s) => (s.owner ? `${s.owner}:${s.source_stream} ${s.address}` : "")], ["path", (s) => s.path.join(" > ")],
    ["frames/s", (s) => number(s.frames_s)], ["lag", (s) => `${s.lag_frames} frames`], ["age", (s) => `${number(s.age_ms)} ms`],
    ["clock offset", (s) => `${number(s.clock_offset_ns / 1e6, 3)} ms, ${s.timestamps}`],
    ["drops here", (s) => listed(s.drops)], ["drops there", (s) => s.sender_frames_dropped],
  ], status.incoming);
  machines(status.machines);
}

function machines(all) {
  const labels = all.map((machine) => machine.label);
  if (!labels.includes(chosen)) chosen = (all.find((m) => m.chart === "InboundStream") ?? all.at(-1)).label;
  byId("machines").replaceChildren(...all.map((machine) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.textContent = `${machine.label} · ${machine.state.split(".").at(-1)}`;
    button.setAttribute("aria-pressed", machine.label === chosen);
    button.addEventListener("click", () => { chosen = machine.label; machines(all); });
    item.append(button);
    return item;
  }));
  chart(all.find((machine) => machine.label === chosen));
}

async function chart(machine) {
  if (!pictures.has(machine.chart)) {
    const text = await (await fetch(`/static/charts/${machine.chart}.svg`)).text();
    pictures.set(machine.chart, new DOMParser().parseFromString(text, "image/svg+xml").documentElement);
  }
  if (machine.label !== chosen) return;
  const place = byId("chart");
  if (place.dataset.chart !== machine.chart) {
    place.dataset.chart = machine.chart;
    place.replaceChildren(document.importNode(pictures.get(machine.chart), true));
  }
  const names = machine.state.split(".");
  for (const group of place.querySelectorAll("g.node, g.cluster")) {
    const name = group.querySelector("title").textContent.replace(/^cluster_/, "");
    group.classList.toggle("lit", group.classList.contains("node") && name === names.at(-1));
    group.classList.toggle("around", group.classList.contains("cluster") && names.includes(name));
  }
  byId("label").textContent = machine.label;
  byId("path").textContent = names.join(" › ");
}

async function refresh() {
  try {
    const response = await fetch("/status.json");
    if (!response.ok) throw new Error(await response.text());
    show(await response.json());
  } catch (error) {
    byId("state").textContent = `no answer: ${error.message}`;
    byId("state").classList.add("trouble");
  }
  setTimeout(refresh, PERIOD_MS);
}

refresh();
