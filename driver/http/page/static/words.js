// Small pieces that every part uses: elements, states and numbers in words.

export function byId(id) {
  return document.getElementById(id);
}

const DRAWN = new Set(["svg", "g", "path", "polyline", "line", "rect", "text"]);

/** An element of [tag, attributes, ...children]; text is text, never markup. */
export function make([tag, attributes = {}, ...children]) {
  const element = DRAWN.has(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  for (const child of children) {
    if (child == null) continue;
    element.append(Array.isArray(child) ? make(child) : child instanceof Node ? child : String(child));
  }
  return element;
}

/** Make the children what the pieces say; elements that may stay do, and keep their focus. */
export function fill(parent, pieces) {
  const wanted = document.createElement(parent.tagName);
  wanted.append(...pieces.map(make));
  adapt(parent, wanted);
}

function adapt(element, wanted) {
  const news = [...wanted.childNodes];
  news.forEach((child, index) => {
    const old = element.childNodes[index];
    if (!old) element.append(child);
    else if (old.nodeName !== child.nodeName) old.replaceWith(child);
    else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== child.data) old.data = child.data;
    } else {
      for (const { name } of [...old.attributes]) {
        if (!child.hasAttribute(name)) old.removeAttribute(name);
      }
      for (const { name, value } of child.attributes) {
        if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      }
      adapt(old, child);
    }
  });
  while (element.childNodes.length > news.length) element.lastChild.remove();
}

/** The innermost state of a dotted path. */
export function leaf(path) {
  return path.slice(path.lastIndexOf(".") + 1);
}

const TONES = {
  Normal: "good", ProducerAttached: "good", Active: "good",
  Degraded: "wait", Draining: "wait", Ready: "wait",
  Expired: "bad", Revoked: "bad", Stopped: "bad",
};

/** How a state is coloured. */
export function toneOf(path) {
  return TONES[leaf(path)] ?? "off";
}

/** The end of a long id, which is what differs. */
export function short(id) {
  const text = String(id);
  return text.length > 9 ? `…${text.slice(-9)}` : text;
}

/** The name of a client's program, without its process id; the id of one that has not sent its name. */
export function clientName(lease) {
  return lease.client ? lease.client.replace(/ \(pid .*$/, "") : `client ${lease.client_id}`;
}

/** A stream by its name and id. */
export function streamName({ stream_id: id, name }) {
  return name ? `${name} ${id}` : `stream ${id}`;
}

/** A rate, with as many digits as mean something. */
export function perSecond(rate) {
  if (rate == null) return "–";
  return `${rate >= 100 ? Math.round(rate) : rate.toFixed(1)} Hz`;
}

/** A time, in the unit that suits it. */
export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  let step = 0;
  while (count >= 1000 && step < units.length - 1) {
    count /= 1000;
    step += 1;
  }
  return `${count >= 100 || step === 0 ? Math.round(count) : count.toFixed(1)} ${units[step]}`;
}
