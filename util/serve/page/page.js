"use strict";

const $ = (id) => document.getElementById(id);
const token = location.hash.slice(1);
const LOOK_EVERY_MS = 400;
const TYPES = {
  jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", tif: "image/tiff", tiff: "image/tiff",
  webp: "image/webp", bmp: "image/bmp", gif: "image/gif", heic: "image/heic", heif: "image/heif",
};
const LOST = "The server does not answer. Is it still running, and are you on its network?";

let info = null; // what the server says of itself
let name = "picture"; // of the file, here alone: the server never gets it
let job = null; // the server's answer about what is shown
let underWay = null; // and about what is to be
let round = 0; // whatever belongs to an earlier one is over

// --- the server ---------------------------------------------------------------------------------

class Refusal extends Error {}

function ask(method, place, body, type, sent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much is sent
    request.open(method, place);
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    if (type) request.setRequestHeader("Content-Type", type);
    if (sent) request.upload.onprogress = (e) => e.lengthComputable && sent(e.loaded / e.total);
    request.onerror = () => reject(new Refusal(LOST));
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText || "{}"); } catch { /* not ours */ }
      if (request.status < 400) resolve(told);
      else reject(new Refusal(told.error || `The server refuses it: ${request.status}`));
    };
    request.send(body || null);
  });
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function connect() {
  for (;;) {
    try {
      info = await ask("GET", "/api/v1/info");
    } catch (error) {
      info = null;
      $("state").textContent = "Not connected";
      fail(error.message);
      if (error.message !== LOST) return;
    }
    if (info) {
      if ($("state").textContent === "Not connected") fail("");
      const loading = info.state !== "ready";
      $("state").textContent = loading ? "Loading TensorFlow and the network…" : "Ready";
      const { bytes, pixels, kept_s: kept } = info.limits;
      $("limits").textContent =
        `At most ${Math.floor(bytes / 2 ** 20)} MB and ${Math.floor(pixels / 1e6)} megapixels; ` +
        `forgotten after ${Math.round(kept / 60)} minutes.`;
      if (!loading) return;
    }
    await wait(1000);
  }
}

// --- one picture --------------------------------------------------------------------------------

function show(part) {
  for (const id of ["start", "work"]) $(id).hidden = id !== part;
}

function fail(text) {
  const end = !text || /[.?!]$/.test(text) ? "" : ".";
  $("error").textContent = text.charAt(0).toUpperCase() + text.slice(1) + end;
  $("error").hidden = !text;
}

function begin(file) {
  fail("");
  const end = file.name.split(".").pop().toLowerCase();
  const type = file.type || TYPES[end] || "";
  if (info && file.size > info.limits.bytes) {
    fail(`Too large: ${Math.ceil(file.size / 2 ** 20)} MB, of at most ` +
      `${Math.floor(info.limits.bytes / 2 ** 20)} MB.`);
    return;
  }
  if (!type.startsWith("image/")) {
    fail("This is not a picture. JPEG, PNG and TIFF can be read.");
    return;
  }
  forget();
  name = file.name.replace(/\.[^.]*$/, "") || "picture";
  $("cloudy").src = URL.createObjectURL(file);
  run((sent) => ask("POST", "/api/v1/clear?as=json", file, type, sent), false);
}

async function run(send, repaints) {
  const mine = ++round;
  look("wait");
  say("Sending…", 0);
  try {
    let found = await send((share) => mine === round && say("Sending…", share));
    const began = Date.now();
    while (mine === round && (found.state === "waiting" || found.state === "working")) {
      underWay = found;
      const seconds = Math.round((Date.now() - began) / 1000);
      if (found.state === "waiting") {
        const text = info && info.state !== "ready" ? "Waiting: the network is being loaded" :
          found.before ? `Waiting: ${found.before} before it` : "Waiting";
        say(`${text}… ${seconds} s`);
      } else {
        say(`Clearing… ${seconds} s`, found.progress || undefined);
      }
      await wait(LOOK_EVERY_MS);
      found = await ask("GET", found.links.self);
    }
    if (mine !== round) {
      drop(found);
      return;
    }
    if (found.state === "failed") throw new Refusal(found.error);
    await finish(found, repaints);
  } catch (error) {
    if (mine !== round) return;
    if (!(error instanceof Refusal)) console.error(error);
    fail(error.message);
    stop();
  }
}

function stop() {
  round += 1;
  drop(underWay);
  underWay = null;
  if (job) look("both");
  else restart();
}

function drop(answer) {
  if (answer) ask("DELETE", answer.links.self).catch(() => {});
}

function say(text, share) {
  $("doing").textContent = text;
  if (share === undefined) $("bar").removeAttribute("value");
  else $("bar").value = share;
}

async function finish(found, repaints) {
  drop(job);
  [job, underWay] = [found, null];
  const places = { cloudy: "cloudy", cleared: "cleared", veil: "veil" };
  for (const [id, link] of Object.entries(places)) {
    if (!found.links[link]) continue;
    $(id).src = found.links[link];
    await $(id).decode().catch(() => {});
  }
  const end = { "image/jpeg": "jpg", "image/tiff": "tif" }[found.type] || found.type.split("/")[1];
  offer("download", "ground", `${name}_cleared.${end}`);
  offer("lossless", "lossless", `${name}_cleared.png`);
  const maps = end === "tif" ? "tif" : "png";
  offer("opacity", "opacity", `${name}_opacity.${maps}`);
  offer("confidence", "confidence", `${name}_confidence.${maps}`);
  info = await ask("GET", "/api/v1/info").catch(() => info);
  $("state").textContent = "Ready";
  $("veil-view").hidden = !found.links.veil;
  $("brush-view").hidden = !info.repaints;
  $("notes").replaceChildren(...found.notes.map((note) => {
    const line = document.createElement("li");
    line.textContent = note;
    return line;
  }));
  if (!repaints) wipe(); // marks stay: each time all of them are repainted
  look(info.marks_first && !repaints ? "brush" : "both");
}

function offer(id, link, file) {
  $(id).hidden = !job.links[link];
  $(id).href = job.links[link] || "";
  $(id).download = file;
}

function forget() {
  round += 1;
  drop(job);
  drop(underWay);
  job = underWay = null;
  URL.revokeObjectURL($("cloudy").src);
}

function restart() {
  forget();
  show("start");
  $("file").value = "";
}

// --- what is seen -------------------------------------------------------------------------------

function look(view) {
  show("work");
  const waits = view === "wait";
  $("waiting").hidden = !waits;
  $("done").hidden = waits;
  $("stage").className = { wait: "waits", both: "compares", brush: "brushes", veil: "" }[view];
  $("cleared").hidden = waits || view === "veil";
  $("veil").hidden = view !== "veil";
  $("marks").hidden = view !== "brush";
  $("brush").hidden = view !== "brush";
  $("slider").hidden = view !== "both";
  for (const part of [$("edge"), ...document.querySelectorAll(".tag")]) part.hidden = view !== "both";
  for (const choice of document.getElementsByName("view")) choice.checked = choice.value === view;
  slide();
}

function slide() {
  const at = document.querySelector("[name=view]:checked")?.value === "both" ? $("slider").value : 0;
  $("cleared").style.clipPath = `inset(0 0 0 ${at}%)`;
  $("edge").style.left = `${at}%`;
}

// --- the brush ----------------------------------------------------------------------------------

let last = null; // where the brush was

function wipe() {
  const canvas = $("marks");
  canvas.width = $("cloudy").naturalWidth;
  canvas.height = $("cloudy").naturalHeight;
  $("wipe").disabled = $("repaint").disabled = true;
}

function paint(event) {
  const canvas = $("marks"), box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width, pen = canvas.getContext("2d");
  const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  pen.strokeStyle = "#ff2d6f";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = $("size").value * scale;
  pen.beginPath();
  pen.moveTo(...(last || at));
  pen.lineTo(...at);
  pen.stroke();
  last = at;
  $("wipe").disabled = $("repaint").disabled = false;
}

function mask() {
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
  canvas.width = $("marks").width;
  canvas.height = $("marks").height;
  pen.drawImage($("marks"), 0, 0);
  pen.globalCompositeOperation = "source-in"; // what is marked becomes white,
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = "destination-over"; // and the rest black
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// --- mouse, finger, keyboard --------------------------------------------------------------------

$("file").onchange = () => $("file").files[0] && begin($("file").files[0]);
$("cancel").onclick = stop;
$("again").onclick = () => { fail(""); restart(); };
$("slider").oninput = slide;
$("wipe").onclick = wipe;
$("repaint").onclick = async () => {
  fail("");
  const before = job.links.self, marks = await mask();
  run((sent) => ask("POST", `${before}/repaint`, marks, "image/png", sent), true);
};
$("cloudy").onerror = () => { $("stage").hidden = true; }; // browsers show no TIFF
$("cloudy").onload = () => { $("stage").hidden = false; };
for (const choice of document.getElementsByName("view")) choice.onchange = () => look(choice.value);

const stage = $("stage");
function drag(event) {
  if (!(event.buttons & 1)) return;
  if (stage.className === "brushes") paint(event);
  if (stage.className === "compares") {
    const box = stage.getBoundingClientRect();
    $("slider").value = 100 * (event.clientX - box.left) / box.width;
    slide();
  }
}
stage.onpointerdown = (event) => {
  last = null;
  stage.setPointerCapture(event.pointerId);
  drag(event);
};
stage.onpointermove = drag;
stage.ondragstart = (event) => event.preventDefault();

addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", () => document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files[0]) begin(event.dataTransfer.files[0]);
});

show("start");
connect();
