// Keeps the page up to date, shows times as people say them, and plays source and result in step.
"use strict";

const HOME = new URL("..", document.currentScript.src);  // a proxy may serve the page beneath any path

// --- times ---------------------------------------------------------------------------------------------

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const steps = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [7 * 86400, "day", 86400]];

function spell(time) {
  const at = new Date(time.dateTime);
  const seconds = (at - Date.now()) / 1000;
  const step = steps.find(([most]) => Math.abs(seconds) < most);
  const text = !step ? at.toLocaleDateString() : Math.abs(seconds) < 10 ? "now"
    : relative.format(Math.round(seconds / step[2]), step[1]);
  if (time.textContent !== text) time.textContent = text;
  time.title = at.toLocaleString();
}

function spellAll() { document.querySelectorAll("time").forEach(spell); }

// --- what changed --------------------------------------------------------------------------------------

const bare = (address) => address.split("?")[0];

function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep") || old.isEqualNode(fresh)) return;
  const isSameTime = old.nodeName === "TIME" && old.dateTime === fresh.dateTime;
  for (const { name, value } of fresh.attributes) {
    const isSame = old.getAttribute(name) === value || (name === "src" && bare(old.getAttribute(name) ?? "") === bare(value));
    if (!isSame) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !["open", "title"].includes(name)) old.removeAttribute(name);
  }
  if (isSameTime || old.nodeName === "INPUT") return;
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const want of [...fresh.childNodes]) {
    const twin = want.id ? known.get(want.id) : undefined;
    if (twin && twin !== at) { old.insertBefore(twin, at); at = twin; }
    if (!at || (want.id && !twin) || (!want.id && at.id)) {
      old.insertBefore(document.importNode(want, true), at);
      continue;
    }
    const next = at.nextSibling;
    morph(at, want);
    at = next;
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

// Says to those who do not see the page that more waits for them.
let waited = null;

function announce() {
  const waits = Number(document.getElementById("held")?.dataset.count ?? 0);
  if (waited !== null && waits > waited) {
    document.getElementById("news").textContent = `${waits} ${waits === 1 ? "job waits" : "jobs wait"} for you`;
  }
  waited = waits;
}

const REST_MS = 500;
let isFetching = false, isWanted = false;

async function refresh() {
  if (isFetching) { isWanted = true; return; }
  isFetching = true;
  const begun = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") { stop(); return; }  // to the log-in: the session has ended
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["top", "main"]) {
      const [old, now] = [document.getElementById(id), fresh.getElementById(id)];
      if (old && now) morph(old, now);
    }
    document.title = fresh.title;
    announce();
    spellAll();
    for (const picture of document.images) {
      // Not drawn yet when it was asked for; another address, or the browser shows what it has.
      if (picture.naturalWidth === 32) picture.src = `${bare(picture.getAttribute("src"))}?${Date.now()}`;
    }
  } catch { /* the stream says when it is back */ } finally {
    // A page that is dear to draw (a search) is drawn less often.
    setTimeout(() => {
      isFetching = false;
      if (isWanted) { isWanted = false; refresh(); }
    }, Math.max(REST_MS, 10 * (performance.now() - begun)));
  }
}

let stream = null, seen = null;

function stop() {
  stream?.close();
  stream = seen = null;
  const live = document.getElementById("live");
  if (live) live.textContent = live.dataset.lost;
}

function listen() {
  if (stream || document.hidden) return;
  const live = document.getElementById("live");
  stream = new EventSource(new URL("events", HOME));
  stream.addEventListener("change", (event) => {
    const { version } = JSON.parse(event.data);
    if (live) live.textContent = "live";
    // The first one after a pause says only where things stand; what it missed is fetched too.
    if (seen !== version) { if (seen !== null || document.body.dataset.stale) refresh(); seen = version; }
    delete document.body.dataset.stale;
  });
  stream.addEventListener("error", () => {
    if (live) live.textContent = live.dataset.lost;
    document.body.dataset.stale = "yes";
    seen = null;
    if (stream.readyState === EventSource.CLOSED) { stream = null; setTimeout(listen, 15000); }
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    if (stream) { stream.close(); stream = null; document.body.dataset.stale = "yes"; seen = null; }
  } else listen();
});

// --- source and result in step -------------------------------------------------------------------------

function play(player) {
  const [source, result] = [player.querySelector("#source"), player.querySelector("#result")];
  const part = (id) => player.querySelector(`#${id}`);
  const starts = Number(player.dataset.starts);
  const FRAME = Number(player.dataset.frame) || 1 / 24, APART = 0.06;
  const length = () => Number.isFinite(result.duration) ? result.duration : 0;
  let isWanted = false;

  const follow = (isExact) => {
    const want = Math.min(result.currentTime + starts, source.duration || 0);
    if (Math.abs(source.currentTime - want) > (isExact ? 0.001 : APART) && !source.seeking) source.currentTime = want;
  };
  const show = () => {
    part("seek").value = length() ? result.currentTime / length() : 0;
    part("clock").textContent = `${result.currentTime.toFixed(2)} s`;
    part("play").textContent = isWanted ? "Pause" : "Play";
  };
  const go = async (isOn) => {
    isWanted = isOn;
    if (isOn) {
      if (result.ended) result.currentTime = 0;
      follow(true);
      await Promise.allSettled([result.play(), source.play()]);
    } else { result.pause(); source.pause(); follow(true); }
    show();
  };
  const step = (by) => { go(false); result.currentTime = Math.max(0, Math.min(length(), result.currentTime + by)); };
  const tick = () => {
    if (isWanted) {
      // Both wait for the slower one.
      const isStuck = result.readyState < 3 || (source.readyState < 3 && !source.error);
      if (isStuck && !result.paused) { result.pause(); source.pause(); }
      if (!isStuck && result.paused && !result.ended) { result.play(); if (!source.error) source.play(); }
      if (!source.ended) follow(false);
      show();
    }
    requestAnimationFrame(tick);
  };

  part("play").addEventListener("click", () => go(!isWanted));
  part("back").addEventListener("click", () => step(-FRAME));
  part("on").addEventListener("click", () => step(FRAME));
  part("seek").addEventListener("input", () => { result.currentTime = part("seek").value * length(); follow(true); show(); });
  part("sound").addEventListener("change", () => { result.muted = !part("sound").checked; });
  part("wipe").addEventListener("change", () => {
    player.classList.toggle("wiping", part("wipe").checked);
    result.style.clipPath = part("wipe").checked ? "inset(0 0 0 50%)" : "";
  });
  player.querySelector(".screens").addEventListener("pointermove", (event) => {
    if (!part("wipe").checked) return;
    const box = result.getBoundingClientRect();
    result.style.clipPath = `inset(0 0 0 ${Math.max(0, Math.min(100, (event.clientX - box.left) / box.width * 100))}%)`;
  });
  result.addEventListener("ended", () => { if (part("loop").checked) { result.currentTime = 0; go(true); } else go(false); });
  result.addEventListener("seeked", () => { if (!isWanted) follow(true); show(); });
  for (const video of [source, result]) {
    const tell = () => { video.parentElement.querySelector(".cannot").hidden = false; };
    if (video.error) tell(); else video.addEventListener("error", tell);
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, button, select, a") && event.code !== "Space" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, button, select, a") && event.code === "Space") return;
    const act = { Space: () => go(!isWanted), ArrowLeft: () => step(-FRAME), ArrowRight: () => step(FRAME) }[event.code];
    if (act) { event.preventDefault(); act(); }
  });
  result.muted = true;
  requestAnimationFrame(tick);
}

// --- rows chosen together --------------------------------------------------------------------------------

document.addEventListener("change", (event) => {
  const table = event.target.closest("table.pick");
  if (!table) return;
  const boxes = [...table.querySelectorAll("input[name=ids]")];
  if (event.target.classList.contains("all")) for (const box of boxes) box.checked = event.target.checked;
  const count = boxes.filter((box) => box.checked).length;
  const picked = document.getElementById("picked");
  if (picked) picked.textContent = count ? `With the ${count} chosen:` : "With those that are chosen:";
  // What is chosen stands still until something is done with it.
  document.getElementById("list")?.toggleAttribute("data-keep", count > 0);
});

announce();
spellAll();
setInterval(spellAll, 10000);
const player = document.getElementById("player");
if (player) play(player);
// A question stands still until it is answered.
if (document.getElementById("top") && !player && !document.querySelector(".dialog")) listen();
