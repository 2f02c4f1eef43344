// The interface: transport bar, panels and keys. Texts of the scene are set as text, never as markup.

import { significant } from "./crop.js";
import { LOOPS } from "./player.js";
import { download } from "./record.js";

const IDLE = 2500; // milliseconds without a pointer until the interface hides while playing
const UPS = { "+Y": [0, 1, 0], "−Y": [0, -1, 0], "+Z": [0, 0, 1], "−Z": [0, 0, -1] };
const $ = (id) => document.getElementById(id);

export function showProgress(part) {
  $("bar").style.width = `${100 * part}%`;
  $("loading").hidden = part >= 1;
}

export function showError(message) {
  $("message").textContent = message;
  $("message").hidden = false;
  $("loading").hidden = true;
}

/** The title as a file name. */
export function fileName(header) {
  return header.title.replaceAll(/[^\p{L}\p{N}_-]+/gu, "_").replaceAll(/^_+|_+$/g, "").slice(0, 60) || "scene";
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function buildInterface(viewer) {
  $("title").textContent = viewer.header.title;
  buildTransport(viewer);
  buildPanels();
  buildView(viewer);
  buildCameras(viewer);
  buildCrop(viewer);
  buildPath(viewer);
  buildRecord(viewer);
  buildInfo(viewer);
  buildKeys(viewer);
  hideWhileIdle(viewer);
}

function buildTransport({ player, header }) {
  $("transport").hidden = !player.isMoving;
  const scrub = $("scrub");
  Object.assign(scrub, { min: player.first, max: player.last, step: "any" });
  scrub.addEventListener("input", () => {
    player.pause();
    player.seek(Number(scrub.value));
  });
  $("play").addEventListener("click", () => player.toggle());
  $("back").addEventListener("click", () => player.step(-1));
  $("ahead").addEventListener("click", () => player.step(1));
  $("speed").addEventListener("change", () => (player.speed = Number($("speed").value)));
  $("loop").addEventListener("click", () => player.setLoop(LOOPS[(LOOPS.indexOf(player.loop) + 1) % LOOPS.length]));
  player.onchange = () => {
    scrub.value = player.time;
    const done = (player.time - player.first) / (player.last - player.first || 1);
    scrub.style.setProperty("--done", `${100 * done}%`);
    scrub.setAttribute("aria-valuetext", `${player.time.toFixed(2)} seconds`);
    $("time").textContent = `${player.time.toFixed(2)} s`;
    $("play").setAttribute("aria-label", player.isPlaying ? "Pause" : "Play");
    $("play").dataset.state = player.isPlaying ? "playing" : "paused";
    $("loop").dataset.state = player.loop;
    $("loop").title = { loop: "Repeat", "ping-pong": "Back and forth", once: "Play once" }[player.loop];
    $("loop").setAttribute("aria-label", `At the end: ${$("loop").title}`);
    document.body.classList.toggle("playing", player.isPlaying);
  };
  player.onchange();
}

function buildPanels() {
  const tabs = [...document.querySelectorAll("#tools button[data-panel]")];
  const open = (name) => {
    for (const tab of tabs) {
      const isOpen = tab.dataset.panel === name && tab.getAttribute("aria-expanded") !== "true";
      tab.setAttribute("aria-expanded", isOpen);
      $(tab.dataset.panel).hidden = !isOpen;
    }
  };
  for (const tab of tabs) tab.addEventListener("click", () => open(tab.dataset.panel));
  addEventListener("keydown", (event) => event.key === "Escape" && open(null));
}

function buildView({ stage, splats, controls, header, reset }) {
  const slider = (id, apply, format) => {
    const show = () => {
      apply(Number($(id).value));
      $(`${id}-value`).textContent = format(Number($(id).value));
    };
    $(id).addEventListener("input", show);
    show();
  };
  $("background").value = header.background;
  $("background").addEventListener("input", () => stage.setBackground($("background").value));
  const uniform = (name) => (value) => {
    splats.uniforms[name].value = value;
    splats.changed();
  };
  slider("size", uniform("size"), (x) => x.toFixed(2));
  slider("threshold", uniform("threshold"), (x) => x.toFixed(2));
  slider("blur", (value) => { stage.blur = value; stage.invalidate(); }, (x) => x.toFixed(1));
  slider("fly-speed", (value) => (controls.speed = 2 ** value), (x) => `${significant(2 ** x)}×`);
  $("mode").addEventListener("change", () => setMode(controls, $("mode").value));
  $("up").append(...Object.keys(UPS).map((name) => make("option", { textContent: name })));
  $("up").addEventListener("change", () => {
    controls.up.set(...UPS[$("up").value]);
    reset();
  });
  $("reset").addEventListener("click", reset);
}

function setMode(controls, mode) {
  controls.mode = mode;
  $("mode").value = mode;
  if (mode === "orbit") controls.target.copy(controls.camera.position).addScaledVector(controls.forward, controls.radius * 2);
}

function buildCameras({ header, frusta, player, stage, controls }) {
  document.querySelector('[data-panel="cameras"]').hidden = !header.cameras.length;
  $("frusta").addEventListener("change", () => frusta.setVisible($("frusta").checked));
  const look = (index) => {
    frusta.lookThrough(index);
    const { times } = header.cameras[index];
    if (times.length === 1) player.seek(times[0]);
    mark();
  };
  const entries = header.cameras.map((camera, index) => {
    const name = `Camera ${index + 1}`;
    const entry = make("button", { type: "button", className: "entry", title: `Look through camera ${index + 1}` });
    if (camera.image) entry.append(make("img", { src: camera.image, alt: "", loading: "lazy" }));
    const { times } = camera;
    const when = times.length === 1 ? `${times[0].toFixed(2)} s` : times.length ? `${times.length} images` : "";
    entry.append(make("span", { textContent: name }), make("small", { textContent: when }));
    entry.addEventListener("click", () => look(index));
    return entry;
  });
  $("camera-list").append(...entries);
  const mark = () => {
    const { x, y, width, height } = stage.frame;
    const frame = $("frame");
    frame.hidden = !stage.lens;
    Object.assign(frame.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  };
  stage.onrender.push(mark);
  controls.onmove = mark;
}

function buildCrop({ crop }) {
  $("crop-on").addEventListener("change", () => crop.toggle($("crop-on").checked));
  $("crop-hide").addEventListener("change", () => {
    crop.hides = $("crop-hide").checked;
    crop.apply();
  });
  $("crop-reset").addEventListener("click", () => crop.reset());
  crop.onchange = () => ($("crop-size").textContent = crop.dimensions.map(significant).join(" × "));
  crop.onchange();
}

function buildPath({ path, header }) {
  for (const name of ["seconds", "fps", "width", "height"]) {
    const input = $(`path-${name}`);
    input.value = path[name];
    input.addEventListener("change", () => {
      const value = Number(input.value);
      if (value > 0 && Number.isFinite(value)) path[name] = name === "seconds" ? value : Math.round(value);
      input.value = path[name];
    });
  }
  $("path-add").addEventListener("click", () => path.add());
  $("path-play").addEventListener("click", () => path.preview(path.playing === null));
  $("path-save").addEventListener("click", () => {
    download(new Blob([JSON.stringify(path.json(), null, 1)], { type: "application/json" }), "camera_path.json");
  });
  path.onchange = () => {
    $("path-list").replaceChildren(
      ...path.keys.map((key, index) => {
        const go = make("button", { type: "button", className: "entry" }, make("span", { textContent: `Key ${index + 1}` }));
        if (header.seconds) go.append(make("small", { textContent: `${key.time.toFixed(2)} s` }));
        go.addEventListener("click", () => path.goTo(index));
        const remove = make("button", { type: "button", className: "remove", textContent: "×" });
        remove.setAttribute("aria-label", `Remove key ${index + 1}`);
        remove.addEventListener("click", () => path.remove(index));
        return make("div", { className: "row" }, go, remove);
      }),
    );
    $("path-play").disabled = path.keys.length < 2;
    $("path-save").disabled = !path.keys.length;
    $("path-play").textContent = path.playing === null ? "Preview" : "Stop";
  };
  path.onchange();
}

function buildRecord({ stage, recorder, header }) {
  $("snapshot").addEventListener("click", async () => download(await stage.snapshot(), `${fileName(header)}.png`));
  $("record").disabled = !recorder.isPossible;
  $("record").addEventListener("click", () => recorder.toggle());
  recorder.onchange = () => {
    $("record").textContent = recorder.recorder ? "Stop and save the video" : "Record a video";
    document.body.classList.toggle("recording", Boolean(recorder.recorder));
  };
}

function buildInfo({ header, stage, splats }) {
  const facts = {
    Motion: { static: "none", linear: "linear, evaluated at any time", skinned: "skinned, evaluated at any time", frames: "one set per time step" }[header.form],
    ...header.notes,
  };
  for (const [name, value] of Object.entries(facts)) $("facts").append(make("dt", { textContent: name }), make("dd", { textContent: value }));
  let before = performance.now();
  setInterval(() => {
    const now = performance.now();
    const rate = (stage.frames * 1000) / (now - before);
    [before, stage.frames] = [now, 0];
    if ($("info").hidden) return;
    const count = header.form === "frames" ? splats.blocks[Math.max(splats.frame, 0)].count : splats.object.numSplats;
    $("splats").textContent = count.toLocaleString("en");
    $("visible").textContent = stage.spark.activeSplats.toLocaleString("en");
    $("fps").textContent = rate < 0.5 ? "idle" : rate.toFixed(0);
  }, 500);
}

function buildKeys(viewer) {
  const { player, controls, reset } = viewer;
  const toggle = (id) => document.querySelector(`[data-panel="${id}"]`).click();
  const actions = {
    " ": () => player.toggle(),
    ",": () => player.step(-1),
    ".": () => player.step(1),
    ArrowLeft: () => player.step(-1),
    ArrowRight: () => player.step(1),
    Home: () => player.seek(player.first),
    End: () => player.seek(player.last),
    l: () => $("loop").click(),
    r: reset,
    f: () => setMode(controls, { orbit: "fly", fly: "walk", walk: "orbit" }[controls.mode]),
    c: () => viewer.header.cameras.length && $("frusta").click(),
    k: () => viewer.path.add(),
    p: () => $("snapshot").click(),
    h: () => document.body.classList.toggle("bare"),
    i: () => toggle("info"),
    "?": () => toggle("help"),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest("input:not([type=range]), select, textarea")) return;
    if (target.closest("button") && (event.key === " " || event.key === "Enter")) return; // the button's own
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function hideWhileIdle({ player }) {
  let timer = 0;
  const wake = () => {
    document.body.classList.remove("idle");
    clearTimeout(timer);
    timer = setTimeout(() => document.body.classList.toggle("idle", player.isPlaying), IDLE);
  };
  for (const name of ["pointermove", "pointerdown", "keydown", "focusin"]) addEventListener(name, wake, true);
  wake();
}
