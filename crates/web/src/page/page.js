// The live page: asks for a snapshot once a second while it is seen, and shows it. Whatever comes from outside is put in as
// text, never as markup.
"use strict";

const HISTORY = 120;
const PERIOD = 1000;
const PATIENCE = 8000;
const rates = { six: [], four: [] };

const at = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

function scaled(value, unit) {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let step = 0;
  let rest = value;
  while (rest >= 1000 && step < prefixes.length - 1) {
    rest /= 1000;
    step += 1;
  }
  const digits = rest >= 100 || (step === 0 && Number.isInteger(rest)) ? 0 : rest >= 10 ? 1 : 2;
  return `${rest.toFixed(digits)} ${prefixes[step]}${unit}`;
}

const bits = (value) => scaled(value, "bit/s");
const packets = (value) => scaled(value, "packets/s");
const bytes = (value) => `${(value / 1048576).toFixed(1)} MiB`;
const percent = (part) => `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
const rate = (value) => (value >= 100 ? whole.format(Math.round(value)) : value > 0 ? value.toFixed(1) : "0");

function duration(ms) {
  const minutes = Math.floor(ms / 60000);
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.floor(ms / 1000)} s`;
}

function say(id, text) {
  const element = at(id);
  if (element.textContent !== text) element.textContent = text;
}

function cell(content, kind) {
  const element = document.createElement("td");
  if (kind) element.className = kind;
  element.append(content);
  return element;
}

// `limited` is for what can get full.
function bar(part, words, limited = true) {
  const [outer, inner] = [document.createElement("div"), document.createElement("span")];
  outer.className = !limited || part < 0.7 ? "bar" : part < 0.9 ? "bar warn" : "bar bad";
  outer.setAttribute("role", "img");
  outer.setAttribute("aria-label", words);
  inner.style.width = `${Math.min(100, Math.max(part > 0 ? 1 : 0, part * 100))}%`;
  outer.append(inner);
  return outer;
}

function fill(id, rows, nothing) {
  const body = at(id);
  const made = rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells);
    return row;
  });
  if (made.length === 0) {
    const row = document.createElement("tr");
    const empty = cell(nothing, "empty");
    empty.colSpan = 9;
    row.append(empty);
    made.push(row);
  }
  body.replaceChildren(...made);
}

function rounded(highest) {
  const step = 10 ** Math.floor(Math.log10(Math.max(highest, 1000)));
  return [1, 2, 4, 5, 10].map((times) => times * step).find((top) => top >= highest) ?? 10 * step;
}

function draw() {
  const top = rounded(Math.max(...rates.six, ...rates.four, 0));
  const shapes = [];
  for (const [kind, values] of Object.entries(rates)) {
    const points = values.map((value, place) => {
      const x = HISTORY - values.length + 1 + place;
      return `${x},${(100 - (value / top) * 100).toFixed(2)}`;
    });
    if (points.length < 2) continue;
    const first = HISTORY - values.length + 1;
    for (const [shape, path] of [
      ["area", `M${first},100 L${points.join(" L")} L${HISTORY},100 Z`],
      ["line", `M${points.join(" L")}`],
    ]) {
      const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
      element.setAttribute("class", `${kind} ${shape}`);
      element.setAttribute("d", path);
      shapes.push(element);
    }
  }
  at("plot").replaceChildren(...shapes);
  const marks = [1, 0.75, 0.5, 0.25, 0].map((part) => {
    const [item, words] = [document.createElement("li"), document.createElement("span")];
    words.textContent = part === 0 ? "" : bits(top * part);
    item.append(words);
    return item;
  });
  at("scale").replaceChildren(...marks);
  const [six, four] = [rates.six.at(-1) ?? 0, rates.four.at(-1) ?? 0];
  const words = `Throughput of the last two minutes; now ${bits(six)} from IPv6, ${bits(four)} from IPv4`;
  at("chart").setAttribute("aria-label", words);
}

function reasons(list) {
  return list.map((one) => [
    cell(one.name, "name"),
    cell(one.source === "" || one.source === "house" ? one.explanation : `${one.explanation} (${one.source})`),
    cell(rate(one.rate), one.rate > 0 ? "right active" : "right"),
    cell(whole.format(one.count), "right"),
  ]);
}

function tiles(live) {
  const sum = (side, key) => live.kernel[side][key] + live.daemon[side][key];
  const [six, four] = [sum("from6", "bit-rate"), sum("from4", "bit-rate")];
  say("bits6", bits(six));
  say("bits4", bits(four));
  say("packets6", packets(sum("from6", "packet-rate")));
  say("packets4", packets(sum("from4", "packet-rate")));
  for (const [series, value] of [[rates.six, six], [rates.four, four]]) {
    series.push(value);
    if (series.length > HISTORY) series.shift();
  }
  const tables = live.instances.flatMap((instance) => instance.tables);
  const total = (key) => tables.reduce((sum, table) => sum + table[key], 0);
  say("sessions", whole.format(total("sessions")));
  say("setup", `${rate(total("set-up-rate"))} new per second`);
  const share = live["kernel-share"];
  const kernel = live["fast-path"];
  say("share", kernel === null ? "off" : share === null ? "idle" : percent(share));
  say("flows", kernel === null ? "all goes through the daemon" : `of all bytes; ${whole.format(kernel.flows)} flows`);
  say("drops-rate", `${rate(live.drops.reduce((sum, one) => sum + one.rate, 0))}/s`);
  say("drops-total", `${whole.format(live.drops.reduce((sum, one) => sum + one.count, 0))} packets in all`);
  const memory = `tables ${bytes(live["table-memory"])}`;
  say("memory", kernel === null ? memory : `${memory}, kernel maps ${bytes(kernel.memory)}`);
}

function tables(live) {
  fill("instances", live.instances.flatMap((instance) => {
    if (instance.tables.length === 0) {
      const kind = instance.enabled ? "SIIT, without state" : "switched off";
      return [[cell(instance.name, "name"), cell(kind), cell("–", "right"), cell("–", "right"), cell("–", "right")]];
    }
    return instance.tables.map((table, place) => [
      cell(place === 0 ? instance.name : "", "name"),
      cell(table.protocol.toUpperCase()),
      cell(whole.format(table.sessions), "right"),
      cell(rate(table["set-up-rate"]), "right"),
      cell(whole.format(table["bib-entries"]), "right"),
    ]);
  }), "There is no instance.");
  fill("pool4", live.pool4.slice(0, 12).map((one) => {
    const part = one.total > 0 ? one.used / one.total : 0;
    const words = `${whole.format(one.used)} of ${whole.format(one.total)}`;
    return [cell(one.address, "address"), cell(one.protocol.toUpperCase()), cell(bar(part, words)), cell(words, "right")];
  }), "No instance has a pool4.");
  const more = Math.max(0, live.pool4.length - 12) + live["pool4-unlisted"];
  say("pool4-more", more > 0 ? `and ${whole.format(more)} less full` : "");
  const sources = live.sources;
  const most = Math.max(1, ...sources.list.map((one) => one.sessions));
  fill("sources", sources.list.slice(0, 8).map((one) => [
    cell(one.address, "address"),
    cell(bar(one.sessions / most, `${one.sessions} sessions`, false)),
    cell(whole.format(one.sessions), "right"),
  ]), "Nobody has a session.");
  say("sources-age", sources.age !== null && sources.age > 5000 ? `as of ${duration(sources.age)} ago` : "");
  fill("threads", live.threads.filter((one) => one.worker || one.load >= 0.005).map((one) => [
    cell(one.worker ? `worker ${one.name.slice(5)}` : one.name, "name"),
    cell(bar(one.load, percent(one.load))),
    cell(percent(one.load), "right"),
  ]), "The kernel does not tell.");
  fill("drops", reasons(live.drops.concat(live.losses)), "Everything was translated.");
  fill("handed", reasons(live["handed-over"]), "Nothing yet.");
}

function show(live) {
  say("about", `${live.version} on ${live.device}, up ${duration(live.uptime)}`);
  state(live.ready ? "translating" : "not translating", live.ready ? "good" : "bad");
  tiles(live);
  tables(live);
  draw();
}

function state(words, kind) {
  say("state", words);
  at("state").className = `badge ${kind}`;
}

async function round() {
  if (!document.hidden) {
    try {
      const answer = await fetch("live", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      show(await answer.json());
    } catch (error) {
      state("no answer", "bad");
    }
  }
  setTimeout(round, PERIOD);
}

round();
