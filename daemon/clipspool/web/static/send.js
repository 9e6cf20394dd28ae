// Sends clips into an inbox: in pieces that go on after a lost connection, with the price before anything is spent.
"use strict";

(() => {
  const form = document.getElementById("send");
  if (!form) return;
  const API = "/api/v1", PIECE = 16 * 1024 * 1024, AT_ONCE = 2, WAIT_MS = 30000;
  const inbox = form.dataset.inbox;
  const part = (id) => document.getElementById(id);
  const field = (name) => form.elements[name]?.value.trim() ?? "";
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const clips = [], images = [];
  let sending = 0, isPlacing = false;

  // --- asking the daemon ---------------------------------------------------------------------------------

  async function ask(method, path, body) {
    const isForm = body instanceof FormData;
    const headers = body && !isForm ? { "Content-Type": "application/json" } : {};
    const answer = await fetch(API + path, { method, headers, body: isForm ? body : body && JSON.stringify(body) });
    const data = answer.status === 204 ? {} : await answer.json();
    return { status: answer.status, data, why: data.error?.message ?? "" };
  }

  // A request of its own kind: fetch cannot tell how much of a piece is on its way.
  const put = (clip, offset) => new Promise((done, lost) => {
    const request = clip.request = new XMLHttpRequest();
    request.open("PUT", `${API}/uploads/${clip.id}?offset=${offset}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => show(clip, offset + event.loaded);
    request.onload = () => done({ status: request.status, data: request.response ?? {} });
    request.onerror = request.onabort = request.ontimeout = () => lost(new Error("lost"));
    request.send(clip.file.slice(offset, offset + PIECE));
  });

  // --- one clip -------------------------------------------------------------------------------------------

  const keyOf = (file) => `clipspool ${inbox} ${file.name} ${file.size} ${file.lastModified}`;
  const size = (count) => count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(2)} GB`;

  function add(file) {
    if (clips.some((one) => keyOf(one.file) === keyOf(file) && one.state !== "gone")) return;
    const node = document.createElement("li");
    const name = Object.assign(document.createElement("span"), { className: "file", textContent: file.name });
    const bar = Object.assign(document.createElement("progress"), { max: file.size || 1, value: 0 });
    bar.setAttribute("aria-label", `${file.name}, sent`);
    const says = Object.assign(document.createElement("span"), { className: "quiet says" });
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    node.append(name, bar, says, remove);
    part("chosen").append(node);
    const clip = { file, node, bar, says, remove, state: "waiting", id: "", quote: null };
    remove.addEventListener("click", () => drop(clip));
    clips.push(clip);
    show(clip, 0);
    next();
  }

  function drop(clip) {
    clip.state = "gone";
    clip.request?.abort();
    if (clip.id) ask("DELETE", `/uploads/${clip.id}`).catch(() => {});
    localStorage.removeItem(keyOf(clip.file));
    clip.node.remove();
    total();
  }

  function show(clip, sent) {
    clip.bar.value = sent;
    if (clip.state === "sending") clip.says.textContent = `${size(sent)} of ${size(clip.file.size)}`;
    if (clip.state === "waiting") clip.says.textContent = size(clip.file.size);
  }

  function say(clip, text, isWrong) {
    clip.says.textContent = text;
    clip.node.classList.toggle("problem", Boolean(isWrong));
  }

  function next() {
    for (const clip of clips) {
      if (sending >= AT_ONCE) return;
      if (clip.state !== "waiting") continue;
      clip.state = "sending";
      sending += 1;
      send(clip).catch(() => fail(clip, "It could not be sent.")).finally(() => { sending -= 1; next(); total(); });
    }
  }

  function fail(clip, why) {
    if (clip.state === "gone") return;
    clip.state = "failed";
    say(clip, why, true);
  }

  async function begin(clip) {
    const known = localStorage.getItem(keyOf(clip.file));
    if (known) {
      const { status, data } = await ask("GET", `/uploads/${known}`);
      if (status === 200 && data.state === "receiving" && data.size === clip.file.size) {
        clip.id = known;
        return data.received;
      }
    }
    const { status, data, why } = await ask("POST", "/uploads", { inbox, folder: "", name: clip.file.name, size: clip.file.size });
    if (status !== 201) { fail(clip, why); return -1; }
    clip.id = data.id;
    localStorage.setItem(keyOf(clip.file), data.id);
    return 0;
  }

  async function send(clip) {
    let at = await begin(clip), tries = 0;
    while (at >= 0 && at < clip.file.size && clip.state === "sending") {
      let answer;
      try { answer = await put(clip, at); } catch { answer = { status: 0, data: {} }; }
      if (clip.state !== "sending") return;
      if (answer.status === 200) { at = answer.data.received; tries = 0; continue; }
      const received = answer.data.error?.received;
      if (received !== undefined) { at = received; continue; }
      if (answer.status && ![409, 429, 503].includes(answer.status)) { fail(clip, answer.data.error?.message ?? "It was refused."); return; }
      say(clip, "The connection was lost; it goes on by itself.");
      await pause(Math.min(WAIT_MS, 500 * 2 ** tries++));
      try { at = (await ask("GET", `/uploads/${clip.id}`)).data.received ?? at; } catch { /* tried again */ }
    }
    if (at < 0 || clip.state !== "sending") return;
    clip.state = "here";
    clip.bar.value = clip.file.size;
    await price(clip);
  }

  // --- what would be sent -----------------------------------------------------------------------------------

  function sidecar() {
    const lines = [];
    const text = (key, value) => { if (value) lines.push(`${key} = ${JSON.stringify(value)}`); };
    for (const key of ["prompt", "preset", "model", "ratio", "long_clips"]) text(key, field(key));
    if (field("seed")) lines.push(`seed = ${Number(field("seed"))}`);
    if (field("start_seconds")) lines.push(`start_seconds = ${Number(field("start_seconds"))}`);
    if (images.length) lines.push(`references = [${images.map((one) => JSON.stringify(one.name)).join(", ")}]`);
    if (field("threshold")) lines.push("", "[content_moderation]", `public_figure_threshold = ${JSON.stringify(field("threshold"))}`);
    const results = Number(field("variants")) || 1;
    for (let number = 0; number < results && results > 1; number += 1) lines.push("", "[[variant]]");
    return lines.length ? lines.join("\n") + "\n" : "";
  }

  async function price(clip) {
    const wish = { sidecar: sidecar(), folder: field("folder"), references: images.map((one) => one.name) };
    const asked = clip.asked = (clip.asked ?? 0) + 1;
    let answer;
    try { answer = await ask("POST", `/uploads/${clip.id}/quote`, wish); } catch { answer = { status: 0, why: "The daemon does not answer." }; }
    if (asked !== clip.asked || clip.state !== "here") return;
    clip.quote = answer.status === 200 ? answer.data : null;
    clip.isAsked = true;
    if (answer.status !== 200) say(clip, answer.why, true);
    else if (answer.data.problems.length) say(clip, answer.data.problems.map((one) => one.message).join("; "), true);
    else {
      const { media, jobs, credits } = answer.data;
      if (jobs[0].request.model !== usual) { usual = jobs[0].request.model; ratios(); }
      const said = [media.seconds ? `${Number(media.seconds.toFixed(2))} s` : "", media.width ? `${media.width} × ${media.height}` : ""];
      const changes = [...new Set(jobs.flatMap((job) => job.changes))];
      said.push(changes.length ? `will be changed: ${changes.join(", ")}` : "sent as it is");
      said.push(credits === null ? "price not known" : `about ${credits} credits`);
      say(clip, said.filter(Boolean).join(" · "));
    }
    total();
  }

  let waiting = 0;
  function changed() {
    const { fields, prompt_utf16_max: most } = model();
    part("letters").textContent = field("prompt") ? `${field("prompt").length} of ${most ?? 1000}` : "";
    for (const one of form.querySelectorAll("[data-field]")) one.hidden = Boolean(fields) && one.dataset.field !== "seed" && !fields.includes(one.dataset.field);
    const picture = part("preset-picture"), sample = form.elements.preset?.selectedOptions[0].dataset.picture;
    if (picture) {
      picture.hidden = !sample;
      if (sample && picture.getAttribute("src") !== sample) picture.src = sample;
      picture.alt = sample ? `Sample of ${field("preset")}` : "";
    }
    clearTimeout(waiting);
    waiting = setTimeout(() => { for (const clip of clips) if (clip.state === "here") price(clip); }, 400);
  }

  // Where no model is chosen, the last quote says which one the inbox's defaults lead to.
  let usual = "";
  function model() {
    const chosen = form.elements.model;
    const option = chosen.value ? chosen.selectedOptions[0] : [...chosen.options].find((one) => one.value === usual) ?? chosen.options[0];
    return JSON.parse(option.dataset.model);
  }

  function ratios() {
    const { ratios: known } = model();
    const chosen = form.elements.ratio;
    const before = chosen.value;
    chosen.replaceChildren(chosen.options[0], ...(known ?? []).map((one) => new Option(one, one)));
    chosen.value = (known ?? []).includes(before) ? before : "";
  }

  function total() {
    const here = clips.filter((one) => one.state === "here"), open = clips.filter((one) => ["waiting", "sending"].includes(one.state));
    const good = here.filter((one) => one.quote && !one.quote.problems.length);
    const prices = good.map((one) => one.quote.credits);
    const sum = prices.reduce((all, one) => all + (one ?? 0), 0);
    part("put").disabled = isPlacing || !here.length || open.length > 0 || good.length < here.length;
    const many = `${here.length} ${here.length === 1 ? "clip" : "clips"}`;
    let text = "Choose clips; the price is shown before anything is sent.";
    if (open.length) text = `${open.length} still on the way; nothing lies in the inbox yet.`;
    else if (here.some((one) => !one.isAsked)) text = "Asking for the price…";
    else if (here.length && good.length < here.length) text = "Something has to be put right first.";
    else if (here.length) text = prices.includes(null) ? `${many}; the price is not known.` : `${many}, about ${Number(sum.toFixed(2))} credits in all.`;
    part("total").textContent = text;
  }

  async function place(event) {
    event.preventDefault();
    if (isPlacing) return;
    isPlacing = true;
    part("put").disabled = true;
    let placed = 0;
    for (const clip of clips.filter((one) => one.state === "here")) {
      const body = new FormData();
      body.append("upload", clip.id);
      body.append("folder", field("folder"));
      body.append("sidecar", sidecar());
      for (const image of images) body.append("reference", image, image.name);
      let answer;
      try { answer = await ask("POST", "/clips", body); } catch { answer = { status: 0, why: "The connection was lost; send again, nothing is sent twice." }; }
      if (answer.status !== 201) { say(clip, answer.why, true); continue; }
      clip.state = "placed";
      placed += 1;
      localStorage.removeItem(keyOf(clip.file));
      clip.remove.remove();
      say(clip, `lies in the inbox as ${answer.data.path}`);
      clip.node.classList.add("done");
      setTimeout(() => clip.node.remove(), 20000);
    }
    isPlacing = false;
    total();
    if (placed) part("total").textContent = `${placed} ${placed === 1 ? "clip lies" : "clips lie"} in the inbox.`;
  }

  // --- choosing and dropping ------------------------------------------------------------------------------------

  function addImage(file) {
    if (images.some((one) => one.name === file.name)) return;
    images.push(file);
    const node = document.createElement("li");
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => { images.splice(images.indexOf(file), 1); node.remove(); changed(); });
    node.append(file.name, " ", remove);
    part("references").append(node);
    changed();
  }

  function receive(area, input, take) {
    input.addEventListener("change", () => { for (const file of input.files) take(file); input.value = ""; });
    area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
    area.addEventListener("dragleave", () => area.classList.remove("over"));
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      area.classList.remove("over");
      for (const file of event.dataTransfer.files) take(file);
    });
  }

  receive(part("drop"), part("clips"), add);
  receive(part("drop-images"), part("images"), addImage);
  // A clip that is dropped beside the area must not take the place of the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  form.addEventListener("input", changed);
  form.elements.model.addEventListener("change", () => { ratios(); changed(); });
  form.addEventListener("submit", place);
  window.addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
})();
