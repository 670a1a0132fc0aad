// Keeps an open page up to date, and follows the log of a deployment. Without it, pages are as they were sent.
// Whatever comes from the server is put in as text, or as a page that the server has escaped.
"use strict";

(() => {
  const main = document.getElementById("main");
  const live = document.getElementById("live");
  // What else is brought up to date: it stands below what is not.
  const below = document.getElementById("live-below");
  const freshness = document.getElementById("freshness");
  // The server's clock counts: the browser's may be wrong.
  const ahead = main.dataset.now ? Date.parse(main.dataset.now) - Date.now() : 0;
  // Seconds between two questions: at most where there is no answer, and where nothing changes.
  const SLOWEST = 15;
  const IDLEST = 60;

  // How long something has been going on.

  function length(seconds) {
    const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
    const first = units.findIndex(([, size]) => seconds >= size);
    if (first < 0) return "0 s";
    const [[unit, size], next] = [units[first], units[first + 1]];
    const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
    return `${Math.floor(seconds / size)} ${unit}` + (rest > 0 ? ` ${rest} ${next[0]}` : "");
  }

  function tick() {
    for (const one of document.querySelectorAll("[data-since]")) {
      const seconds = Math.floor((Date.now() + ahead - Date.parse(one.dataset.since)) / 1000);
      const text = length(Math.max(0, seconds));
      if (one.textContent !== text) one.textContent = text;
    }
  }
  setInterval(() => document.hidden || tick(), 1000);

  // Bringing what is there up to what came: only what differs is touched, so that focus, scrolling, what is selected and
  // what is unfolded stay.

  // Two of a kind stand for the same thing.
  function kind(node) {
    return node.id ? `#${node.id}` : `${node.nodeName}.${node.classList?.[0] ?? ""}`;
  }

  // Tells whether something has changed beside the time that has passed.
  function renew(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue === fresh.nodeValue) return false;
      old.nodeValue = fresh.nodeValue;
      return true;
    }
    let changed = false;
    const kept = (name) => old.nodeName === "DETAILS" && name === "open";
    for (const { name } of [...old.attributes]) {
      if (fresh.hasAttribute(name) || kept(name)) continue;
      old.removeAttribute(name);
      changed = true;
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) === value) continue;
      old.setAttribute(name, value);
      changed = true;
    }
    const ages = old.nodeName === "TIME" || old.hasAttribute("data-since");
    const inside = renewChildren(old, fresh);
    return changed || (inside && !ages);
  }

  function renewChildren(old, fresh) {
    let changed = false;
    const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    // How many of each kind are still to come.
    const wanted = new Map();
    for (const child of fresh.childNodes) wanted.set(kind(child), (wanted.get(kind(child)) ?? 0) + 1);
    let next = old.firstChild;
    function drop() {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
      changed = true;
    }
    for (const child of [...fresh.childNodes]) {
      // What is no longer wanted goes first, so that what comes after it is found and stays.
      while (next && !wanted.get(kind(next))) drop();
      wanted.set(kind(child), wanted.get(kind(child)) - 1);
      const there = child.id ? named.get(child.id) : next && kind(next) === kind(child) && next;
      if (!there) {
        old.insertBefore(document.importNode(child, true), next);
        changed = true;
        continue;
      }
      if (there === next) {
        next = next.nextSibling;
      } else {
        old.insertBefore(there, next);
        changed = true;
      }
      if (renew(there, child)) changed = true;
    }
    while (next) drop();
    return changed;
  }

  // Asking for the page again.

  let timer = 0;
  let failures = 0;
  // How often in turn nothing had changed.
  let idle = 0;
  let last = 0;
  let asking = false;
  let wanted = false;
  // True while the log tells of what happens, so that asking now and then is enough.
  let told = false;

  function say(text) {
    if (freshness.textContent !== text) freshness.textContent = text;
    freshness.classList.toggle("late", failures > 0);
  }

  function plan(seconds) {
    clearTimeout(timer);
    timer = setTimeout(ask, seconds * 1000);
  }

  function interval() {
    const every = told ? SLOWEST : Number(live.dataset.every || 3);
    if (failures > 0) return Math.min(Math.max(SLOWEST, every), every * 2 ** failures);
    return Math.min(IDLEST, every * 1.5 ** idle);
  }

  async function ask() {
    if (document.hidden) return;
    if (asking) {
      wanted = true;
      return;
    }
    asking = true;
    wanted = false;
    last = Date.now();
    let why = "no answer";
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html", "x-live": "1" }, cache: "no-store" });
      if (answer.status === 401) why = "you are signed out";
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("live");
      if (!fresh) throw new Error("not this page");
      const rest = below && page.getElementById("live-below");
      const changed = [renew(live, fresh), rest && renew(below, rest)];
      idle = changed.includes(true) ? 0 : idle + 1;
      // What the script writes itself is not in what came.
      tick();
      document.title = page.title;
      document.dispatchEvent(new Event("renewed"));
      failures = 0;
      say(live.dataset.done === undefined ? "Live" : "");
    } catch {
      failures += 1;
      say(`Not up to date: ${why}`);
    }
    asking = false;
    if (wanted) return plan(1);
    if (live.dataset.done !== undefined && failures === 0) return;
    plan(interval());
  }

  // Soon, but at most once a second.
  function hurry() {
    if (asking) wanted = true;
    else plan(Math.max(0, (last + 1000 - Date.now()) / 1000));
  }

  // Where something may have changed; what has ended does not change.
  function look() {
    if (live.dataset.done === undefined || failures > 0) hurry();
  }

  // Somebody is there: as often as at first again.
  function wake() {
    if (idle === 0) return;
    idle = 0;
    if (asking || live.dataset.done !== undefined) return;
    plan(Math.max(0, interval() - (Date.now() - last) / 1000));
  }

  if (live && main.dataset.live !== undefined) {
    if (live.dataset.done === undefined) {
      say("Live");
      plan(interval());
    }
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      idle = 0;
      look();
    });
    for (const kind of ["pointerdown", "keydown", "scroll"]) document.addEventListener(kind, wake, { passive: true });
    window.addEventListener("online", look);
    window.addEventListener("offline", look);
  }

  // The log of a deployment.

  const log = document.getElementById("log");
  if (!log) return;

  const MOST = 5000;
  const LEVELS = ["debug", "info", "warn", "error"];
  const operation = document.getElementById("log-operation");
  const level = document.getElementById("log-level");
  const follow = document.getElementById("log-follow");
  const state = document.getElementById("log-state");
  const cut = document.getElementById("log-cut");
  let source = null;
  let retry = 0;
  let faults = 0;
  // After the last line that is here.
  let cursor = "";
  let ended = false;
  // Counts the questions, so that answers to earlier ones are dropped.
  let question = 0;
  let coming = [];
  let drawing = 0;

  function part(row, name, kind, text) {
    const one = document.createElement(name);
    one.className = kind;
    one.textContent = text;
    row.append(one);
    return one;
  }

  function row(line) {
    const row = document.createElement("div");
    row.className = `line level-${LEVELS.includes(line.level) ? line.level : "info"}`;
    const at = new Date(line.at);
    const time = part(row, "time", "at", Number.isNaN(at.getTime()) ? "" : at.toISOString().slice(11, 19));
    time.dateTime = time.title = line.at;
    part(row, "span", "resource", line.resource ?? "");
    part(row, "span", "level", line.level);
    const message = part(row, "span", "message", "");
    if (line.address) part(message, "span", "address", `${line.address} `);
    // Terraform has the address and the time in its own words, too.
    const said = line.address && line.message.startsWith(`${line.address}: `);
    message.append(said ? line.message.slice(line.address.length + 2) : line.message);
    if (line.elapsedSeconds !== undefined && !line.message.endsWith(" elapsed]")) {
      part(message, "span", "elapsed", ` ${length(line.elapsedSeconds)}`);
    }
    return row;
  }

  function draw() {
    drawing = 0;
    if (log.childElementCount + coming.length > MOST) cut.hidden = false;
    log.append(...coming.slice(-MOST).map(row));
    coming = [];
    while (log.childElementCount > MOST) log.firstElementChild.remove();
    if (follow.checked) log.scrollTop = log.scrollHeight;
  }

  function add(line) {
    coming.push(line);
    if (!drawing) drawing = setTimeout(draw, 50);
    // What has no address is about an operation or the deployment: the page has changed.
    if (!line.address) look();
  }

  function address() {
    const url = new URL(log.dataset.src, location.href);
    url.searchParams.set("level", level.value);
    if (operation.value) url.searchParams.set("operation", operation.value);
    if (cursor) url.searchParams.set("cursor", cursor);
    return url;
  }

  function stop() {
    question += 1;
    clearTimeout(retry);
    source?.close();
    source = null;
    told = false;
  }

  function end() {
    stop();
    ended = true;
    faults = 0;
    // Who reads that it has ended has all of it.
    clearTimeout(drawing);
    draw();
    state.textContent = "The log has ended.";
    look();
  }

  function listen() {
    stop();
    // A tab that nobody sees holds no connection; it goes on from its cursor.
    if (document.hidden) return;
    if (faults >= 5 || !window.EventSource) {
      poll();
      return;
    }
    source = new EventSource(address());
    source.onopen = () => {
      faults = 0;
      told = true;
      state.textContent = "";
    };
    source.onmessage = (event) => {
      cursor = event.lastEventId || cursor;
      add(JSON.parse(event.data));
    };
    source.addEventListener("end", end);
    source.onerror = () => {
      faults += 1;
      // It comes again by itself, unless it was refused; but not for ever.
      if (faults >= 5) {
        listen();
        look();
      } else if (source.readyState === EventSource.CLOSED) {
        stop();
        retry = setTimeout(listen, faults * 1000);
      }
    };
  }

  async function poll() {
    const mine = question;
    try {
      const url = address();
      url.searchParams.set("limit", "1000");
      const answer = await fetch(url, { headers: { accept: "application/json" }, cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = await answer.json();
      if (mine !== question) return;
      page.items.forEach(add);
      if (page.ended) {
        end();
        return;
      }
      cursor = page.nextCursor || cursor;
      state.textContent = "The log is asked for every few seconds.";
      retry = setTimeout(poll, page.items.length > 0 ? 1000 : 3000);
    } catch {
      if (mine !== question) return;
      state.textContent = "The log does not answer.";
      retry = setTimeout(poll, SLOWEST * 1000);
    }
  }

  function restart() {
    clearTimeout(drawing);
    drawing = 0;
    coming = [];
    log.replaceChildren();
    cut.hidden = true;
    cursor = "";
    ended = false;
    faults = 0;
    state.textContent = "";
    listen();
  }

  // The operations are there once the deployment is planned, and a rollback adds some.
  function choices() {
    const known = new Set([...operation.options].map((option) => option.value));
    for (const row of live.querySelectorAll("tr[data-op]")) {
      if (known.has(row.dataset.op)) continue;
      const option = document.createElement("option");
      option.value = row.dataset.op;
      option.textContent = row.cells[0].firstChild.textContent;
      operation.append(option);
    }
  }

  operation.addEventListener("change", restart);
  level.addEventListener("change", restart);
  follow.addEventListener("change", () => {
    if (follow.checked) log.scrollTop = log.scrollHeight;
  });
  log.addEventListener("scroll", () => {
    follow.checked = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  });
  window.addEventListener("online", () => {
    if (faults === 0) return;
    faults = 0;
    listen();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else if (!ended) listen();
  });
  document.addEventListener("renewed", choices);
  document.getElementById("log-controls").hidden = false;
  choices();
  listen();
})();
