// Sends clips into an inbox: in pieces that go on after a lost connection, with the price before anything is spent.
"use strict";

(() => {
  const form = document.getElementById("send");
  if (!form) return;
  const API = new URL("../api/v1", document.currentScript.src).href, PIECE = 16 * 1024 * 1024, AT_ONCE = 2, WAIT_MS = 30000;
  const inbox = form.dataset.inbox;
  const part = (id) => document.getElementById(id);
  // What the model does not have is hidden, and counts as not filled in.
  const field = (name) => form.elements[name]?.closest("[hidden]") ? "" : form.elements[name]?.value.trim() ?? "";
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const clips = [], images = [], keyframes = [];
  let sending = 0, isPlacing = false;

  // --- asking the daemon ---------------------------------------------------------------------------------

  async function ask(method, path, body) {
    const isForm = body instanceof FormData;
    const headers = body && !isForm ? { "Content-Type": "application/json" } : {};
    const answer = await fetch(API + path, { method, headers, body: isForm ? body : body && JSON.stringify(body) });
    const data = answer.status === 204 ? {} : await answer.json();
    return { status: answer.status, data, why: reasonOf(answer.status, data) };
  }

  const reasonOf = (status, data) => status === 401 ? "The session has ended: log in again. What was sent so far is kept." : data.error?.message ?? "";

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

  const keyOf = ({ file, folder }) => `clipspool ${inbox} ${folder ? folder + "/" : ""}${file.name} ${file.size} ${file.lastModified}`;
  const folderOf = (clip) => [field("folder"), clip.folder].filter(Boolean).join("/");
  const figure = (number) => number.toLocaleString("en", { maximumFractionDigits: 2 });
  const size = (count) => count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(2)} GB`;

  function add(file, folder = "") {
    const twin = clips.find((one) => keyOf(one) === keyOf({ file, folder }) && !["gone", "placed"].includes(one.state));
    if (twin && twin.state !== "failed") return;
    if (twin) { twin.state = "gone"; twin.node.remove(); }  // it begins again where it ended
    const node = document.createElement("li");
    const name = Object.assign(document.createElement("span"), { className: "file", textContent: folder ? `${folder}/${file.name}` : file.name });
    const bar = Object.assign(document.createElement("progress"), { max: file.size || 1, value: 0 });
    bar.setAttribute("aria-label", `${file.name}, sent`);
    const says = Object.assign(document.createElement("span"), { className: "quiet says" });
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    node.append(name, bar, says, remove);
    part("chosen").append(node);
    const clip = { file, folder, node, bar, says, remove, state: "waiting", id: "", quote: null };
    remove.addEventListener("click", () => drop(clip));
    clips.push(clip);
    show(clip, 0);
    next();
  }

  function drop(clip) {
    clip.state = "gone";
    clip.request?.abort();
    if (clip.id) ask("DELETE", `/uploads/${clip.id}`).catch(() => {});
    localStorage.removeItem(keyOf(clip));
    clip.node.remove();
    total();
  }

  function show(clip, sent) {
    clip.bar.value = sent;
    if (clip.state === "sending") clip.says.textContent = `${size(sent)} of ${size(clip.file.size)}`;
    if (clip.state === "waiting") clip.says.textContent = size(clip.file.size);
  }

  function say(clip, text, isWrong) {
    // What stands between backticks is written as code.
    clip.says.replaceChildren(...text.split("`").map((piece, number) => number % 2 ? Object.assign(document.createElement("code"), { textContent: piece }) : piece));
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
    const known = localStorage.getItem(keyOf(clip));
    if (known) {
      const { status, data, why } = await ask("GET", `/uploads/${known}`);
      if (status === 200 && data.state === "receiving" && data.size === clip.file.size) {
        clip.id = known;
        return data.received;
      }
      if (status !== 200 && status !== 404) { fail(clip, why); return -1; }  // what was sent is not given up
    }
    const { status, data, why } = await ask("POST", "/uploads", { inbox, folder: "", name: clip.file.name, size: clip.file.size });
    if (status !== 201) { fail(clip, why); return -1; }
    clip.id = data.id;
    localStorage.setItem(keyOf(clip), data.id);
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
      const why = reasonOf(answer.status, answer.data);
      if (answer.status && ![409, 429, 502, 503, 504].includes(answer.status)) { fail(clip, why || "It was refused."); return; }
      say(clip, why ? why.replace(/; try again\.$/, "; it is tried again by itself.") : "The connection was lost; it goes on by itself.");
      await pause(Math.min(WAIT_MS, 500 * 2 ** tries++));
      try { at = (await ask("GET", `/uploads/${clip.id}`)).data.received ?? at; } catch { /* tried again */ }
    }
    if (at < 0 || clip.state !== "sending") return;
    clip.state = "here";
    clip.node.classList.add("here");
    await price(clip);
  }

  // --- what would be sent -----------------------------------------------------------------------------------

  function sidecar() {
    const lines = [], matrix = [];
    const text = (key, value) => { if (value) lines.push(`${key} = ${JSON.stringify(value)}`); };
    const either = (key, values) => {
      if (values.length > 1) matrix.push(`${key} = ${JSON.stringify(values)}`);
      else if (values.length) lines.push(`${key} = ${JSON.stringify(values[0])}`);
    };
    either("prompt", prompts());
    for (const key of ["preset", "model", "ratio", "target_aspect", "output_format", "long_clips", "finish", "finish_codec"]) text(key, field(key));
    either("seed", seeds());
    if (field("start_seconds")) lines.push(`start_seconds = ${Number(field("start_seconds"))}`);
    if (shown(images).length) lines.push(`references = ${JSON.stringify(images.map((one) => one.file.name))}`);
    if (field("threshold")) lines.push("", "[content_moderation]", `public_figure_threshold = ${JSON.stringify(field("threshold"))}`);
    for (const one of shown(keyframes)) lines.push("", "[[keyframe]]", `at = ${one.at()}`, `image = ${JSON.stringify(one.file.name)}`);
    if (matrix.length) lines.push("", "[matrix]", ...matrix);
    const results = form.elements.variants.disabled ? 1 : Number(field("variants")) || 1;
    for (let number = 0; number < results && results > 1; number += 1) lines.push("", "[[variant]]");
    return lines.length ? lines.join("\n") + "\n" : "";
  }

  const prompts = () => form.elements.per_line.checked ? field("prompt").split("\n").map((one) => one.trim()).filter(Boolean) : [field("prompt")].filter(Boolean);
  // What is no number stays as it was written: the daemon says what is wrong with it.
  const seeds = () => field("seed").split(/[\s,;]+/).filter(Boolean).map((one) => /^\d{1,15}$/.test(one) ? Number(one) : one);
  const shown = (list) => list.filter((one) => !one.node.closest("[hidden]"));
  const beside = () => [...new Map([...shown(images), ...shown(keyframes)].map((one) => [one.file.name, one.file])).values()];

  async function price(clip) {
    const wish = { sidecar: sidecar(), folder: folderOf(clip), references: beside().map((one) => one.name) };
    const asked = clip.asked = (clip.asked ?? 0) + 1;
    let answer;
    try { answer = await ask("POST", `/uploads/${clip.id}/quote`, wish); } catch { answer = { status: 0, why: "The daemon does not answer." }; }
    if (asked !== clip.asked || clip.state !== "here") return;
    clip.quote = answer.status === 200 ? answer.data : null;
    clip.isAsked = true;
    if (answer.status !== 200) say(clip, answer.why, true);
    else if (lacksPrompt(clip)) say(clip, "waits for the prompt");
    else if (answer.data.problems.length) say(clip, mistakes(answer.data.problems).map((one) => one.message).join("; "), true);
    else {
      const { media, jobs, credits } = answer.data;
      if (jobs[0].request.model !== usual) { usual = jobs[0].request.model; fit(); }
      const said = [media.seconds ? `${Number(media.seconds.toFixed(2))} s` : "", media.width ? `${media.width} × ${media.height}` : ""];
      const changes = [...new Set(jobs.flatMap((job) => job.changes))];
      said.push(changes.length ? `will be changed: ${changes.join(", ")}` : "sent as it is");
      if (jobs.length > 1) said.push(`${jobs.length} results`);
      said.push(credits === null ? "price not known" : `about ${figure(credits)} credits`);
      if (answer.data.held) said.push(`would be held: ${answer.data.reason}`);
      say(clip, said.filter(Boolean).join(" · "), answer.data.held);
    }
    total();
  }

  // Nobody did anything wrong who has not written it yet.
  const mistakes = (problems) => problems.filter((one) => field("prompt") || one.key !== "prompt");
  const lacksPrompt = (clip) => clip.quote?.problems.length > 0 && !mistakes(clip.quote.problems).length;

  let waiting = 0;
  function changed() {
    // What another choice makes useless is hidden, too: the daemon would ask to delete it.
    for (const one of form.querySelectorAll("[data-unless]")) {
      const [name, ...values] = one.dataset.unless.split(" ");
      one.hidden = values.includes(field(name));
    }
    const longest = Math.max(0, ...prompts().map((one) => one.length));
    part("letters").textContent = longest ? `${longest} of ${model().prompt_utf16_max ?? 1000}${prompts().length > 1 ? `, ${prompts().length} prompts` : ""}` : "";
    form.elements.variants.disabled = seeds().length > 1;  // each seed is a result of its own
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

  function fit() {
    const known = model();
    for (const one of form.querySelectorAll("[data-field]")) one.hidden = Boolean(known.fields) && one.dataset.field !== "seed" && !known.fields.includes(one.dataset.field);
    for (const [name, values] of [["ratio", known.ratios], ["target_aspect", known.target_aspects], ["output_format", known.output_formats]]) {
      const chosen = form.elements[name], before = chosen.value;
      chosen.replaceChildren(chosen.options[0], ...(values ?? []).map((one) => new Option(one, one)));
      chosen.value = (values ?? []).includes(before) ? before : "";
    }
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
    else if (here.some(lacksPrompt)) text = "Write what should become of them; the price is shown then.";
    else if (here.length && good.length < here.length) text = `${here.filter((one) => !good.includes(one)).map((one) => one.file.name).join(", ")}: put this right, or remove it, first.`;
    else if (here.length) text = prices.includes(null) ? `${many}; the price is not known.` : `${many}, about ${figure(sum)} credits in all.`;
    const left = Math.min(...good.map((one) => one.quote.credits_left_today ?? Infinity));
    if (!part("put").disabled && sum > left) text += ` Of today's limit ${figure(left)} credits are left: what is over waits until tomorrow (UTC), or for an operator.`;
    part("total").textContent = text;
    const results = good.reduce((all, one) => all + one.quote.jobs.length, 0);
    if (part("put").disabled || results < 2 || prices.includes(null)) return;
    balance().then((known) => {
      if (!known || part("total").textContent !== text) return;
      part("total").textContent = `${text} The account has ${figure(known.amount)} ${known.unit}${known.credits < sum ? ", which is less than that" : ""}.`;
    });
  }

  // Asked before several clips are put; the daemon asks the provider twice a minute at most.
  let told = null, toldAt = -Infinity;
  async function balance() {
    if (performance.now() - toldAt > 30000) {
      toldAt = performance.now();
      try { told = (await ask("GET", "/balance")).data?.balance; } catch { told = null; }
    }
    return told;
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
      body.append("folder", folderOf(clip));
      body.append("sidecar", sidecar());
      for (const image of beside()) body.append("reference", image, image.name);
      let answer;
      try { answer = await ask("POST", "/clips", body); } catch { answer = { status: 0, why: "The connection was lost; send again, nothing is sent twice." }; }
      if (answer.status !== 201) { say(clip, answer.why, true); continue; }
      clip.state = "placed";
      placed += 1;
      localStorage.removeItem(keyOf(clip));
      clip.remove.remove();
      say(clip, "");
      clip.says.textContent = `lies in the inbox as ${answer.data.path}`;
      clip.node.classList.add("done");
      setTimeout(() => clip.node.remove(), 20000);
    }
    isPlacing = false;
    total();
    if (placed) part("total").textContent = `${placed} ${placed === 1 ? "clip lies" : "clips lie"} in the inbox.`;
  }

  // --- choosing and dropping ------------------------------------------------------------------------------------

  function addImage(list, place, file) {
    if (list.some((one) => one.file.name === file.name)) return null;
    const one = { file, node: document.createElement("li") };
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => { list.splice(list.indexOf(one), 1); one.node.remove(); changed(); });
    one.node.append(file.name, " ", remove);
    list.push(one);
    part(place).append(one.node);
    changed();
    return one;
  }

  function addKeyframe(file) {
    const one = addImage(keyframes, "keyframes", file);
    if (!one) return;
    const at = document.createElement("select"), seconds = Object.assign(document.createElement("input"), { type: "number", min: 0, step: 0.1, value: 0 });
    for (const [value, word] of [["first", "first frame"], ["last", "last frame"], ["seconds", "at second"]]) at.append(new Option(word, value));
    at.value = ["first", "last"][keyframes.length - 1] ?? "seconds";
    at.setAttribute("aria-label", `Place of ${file.name}`);
    seconds.setAttribute("aria-label", `Second of ${file.name}`);
    const hide = () => { seconds.hidden = at.value !== "seconds"; };
    at.addEventListener("change", hide);
    hide();
    one.at = () => at.value === "seconds" ? Number(seconds.value) || 0 : JSON.stringify(at.value);
    one.node.insertBefore(at, one.node.lastChild);
    one.node.insertBefore(seconds, one.node.lastChild);
    changed();
  }

  let leftOut = 0;
  // A folder's clips keep their place in it; what is no clip is left out.
  async function unfold(entry, folder, take) {
    if (entry.isFile) {
      const file = await new Promise((done, lost) => entry.file(done, lost));
      if (part("clips").accept.split(",").some((suffix) => file.name.toLowerCase().endsWith(suffix))) take(file, folder);
      else part("left-out").textContent = `Of folders only clips are sent: ${leftOut += 1} other ${leftOut === 1 ? "file was" : "files were"} left out.`;
      return;
    }
    const reader = entry.createReader(), inside = folder ? `${folder}/${entry.name}` : entry.name;
    for (;;) {  // a reader hands out a part at a time
      const entries = await new Promise((done, lost) => reader.readEntries(done, lost));
      if (!entries.length) return;
      for (const one of entries) if (!one.name.startsWith(".")) await unfold(one, inside, take);
    }
  }

  function receive(area, input, take) {
    input.addEventListener("change", () => { for (const file of input.files) take(file); input.value = ""; });
    area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
    area.addEventListener("dragleave", () => area.classList.remove("over"));
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      area.classList.remove("over");
      const items = [...event.dataTransfer.items].filter((one) => one.kind === "file");
      for (const item of items) {  // an item is empty once this event is over
        const entry = item.webkitGetAsEntry(), file = item.getAsFile();
        if (entry?.isDirectory) unfold(entry, "", take).catch(() => { part("total").textContent = `The folder ${entry.name} could not be read.`; });
        else if (file) take(file);
      }
    });
  }

  receive(part("drop"), part("clips"), add);
  receive(part("drop-images"), part("images"), (file) => addImage(images, "references", file));
  receive(part("drop-keyframes"), part("keyframe-images"), addKeyframe);
  // A clip that is dropped beside the area must not take the place of the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  for (const kind of ["input", "change"]) form.addEventListener(kind, changed);  // a choice may come with the second alone
  form.elements.model.addEventListener("change", () => { fit(); changed(); });
  form.addEventListener("submit", place);
  window.addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
})();
