// Puts the page together: the driver's news come in here and are handed to the parts.

import { Cards } from "./cards.js";
import { ChartView } from "./chart.js";
import { listen } from "./listen.js";
import { Leases } from "./leases.js";
import { Machines } from "./machines.js";
import { Messages } from "./messages.js";
import { Pixels } from "./pixels.js";
import { Timeline } from "./timeline.js";
import { byId, fill, leaf, toneOf } from "./words.js";

const machines = new Machines();
const timeline = new Timeline();
const messages = new Messages();
const pixels = new Pixels((id) => cards.opened(id));
const cards = new Cards((machine) => choose(machine), (stream) => pixels.open(stream));
const leases = new Leases((machine) => choose(machine));
const chart = new ChartView(byId("chart"), byId("path"), byId("last-step"));

function choose(machine) {
  machines.choose(machine);
  chart.show(machines.chosen());
  cards.mark(machine);
  if (document.activeElement?.id !== "machine") {
    byId("chart-section").scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
}

byId("machine").addEventListener("change", (event) => choose(event.target.value));
byId("driver-state").addEventListener("click", () => choose("driver"));

let own = new Set(); // clients of the page itself

function showDriver(report) {
  const { driver, metrics } = report;
  byId("instance").textContent = driver.instance_id;
  document.title = `${driver.instance_id} · ${leaf(driver.state)} · Tensor Pool`;
  const state = byId("driver-state");
  state.textContent = leaf(driver.state);
  state.dataset.tone = toneOf(driver.state);
  const conditions = byId("conditions");
  conditions.hidden = driver.conditions.length === 0;
  conditions.textContent = driver.conditions.join(", ");
  const totals = {
    streams: driver.streams,
    leases: report.leases.filter((lease) => !own.has(lease.client_id)).length,
    "epochs made": metrics.epochs_provisioned,
    "grants": metrics.attach_granted,
    expired: metrics.leases_expired,
  };
  fill(
    byId("totals"),
    Object.entries(totals).map(([name, value]) => ["div", {}, ["dt", {}, name], ["dd", {}, value]]),
  );
  byId("where").textContent =
    `control ${driver.control_channel} stream ${driver.control_stream_id} · ` +
    `media driver ${driver.aeron_dir}${driver.embeds_media_driver ? " (embedded)" : ""}`;
}

function trouble(text) {
  const line = byId("trouble");
  line.hidden = !text;
  line.textContent = text;
}

listen({
  link(state) {
    const link = byId("link");
    link.textContent = state === "live" ? "live" : "reconnecting";
    link.dataset.tone = state === "live" ? "good" : "bad";
    if (state !== "live") trouble("No connection to the driver. Trying again.");
    document.body.dataset.link = state;
  },
  hello({ records }) {
    trouble("");
    timeline.restart(records);
    messages.restart();
    machines.restart(records);
  },
  happened({ records }) {
    timeline.add(records);
    for (const record of records) {
      machines.happened(record);
      cards.happened(record);
      if (record.machine === machines.name) chart.step(record);
    }
  },
  messages({ records }) {
    messages.add(records);
  },
  report(report) {
    trouble("");
    showDriver(report);
    machines.report(report);
    timeline.report(report);
    cards.report(report);
    leases.report(report);
    messages.report(report);
    chart.settle(machines.chosen());
  },
  ages({ seconds }) {
    cards.ages(seconds);
  },
  traffic({ streams }) {
    cards.traffic(streams);
  },
  own({ clients }) {
    own = new Set(clients);
    for (const part of [cards, leases, machines, messages, timeline]) part.own(own);
  },
  problem({ text }) {
    cards.problem(text);
  },
  trouble({ text }) {
    trouble(text);
  },
});

chart.show(machines.chosen());
