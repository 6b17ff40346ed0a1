"use strict";
/* Image under class map: a divider between them, zoom, pan, and a switch for each class. Without this program both
   pictures stand side by side. Pictures are placed by custom properties of the stage, so that print ignores them. */
(() => {
  const viewer = document.getElementById("viewer");
  const stage = document.getElementById("stage");
  const map = document.getElementById("map");
  const divide = document.getElementById("divide");
  const opacity = document.getElementById("opacity");
  const boxes = [...viewer.querySelectorAll("input[type=checkbox]")];
  const pixels = Number(map.getAttribute("width")); /* of the file; the property tells the size on the screen */
  const aspect = pixels / Number(map.getAttribute("height"));
  const view = { zoom: 1, x: 0.5, y: 0.5 }; /* x, y: the part of the picture that is in the stage's middle */
  const byId = (id) => document.getElementById(id);

  viewer.classList.add("live");
  for (const one of viewer.querySelectorAll("[hidden]")) one.hidden = false;

  /* --- the view --- */
  function fitted() {
    const box = stage.getBoundingClientRect();
    const width = Math.min(box.width, box.height * aspect);
    return { box, width, height: width / aspect };
  }

  function place() {
    const { box, width, height } = fitted();
    const most = Math.max(8, (12 * pixels) / width);
    view.zoom = Math.min(most, Math.max(1, view.zoom));
    const w = width * view.zoom, h = height * view.zoom;
    /* What is larger than the stage covers it; what is smaller stands in its middle. */
    const reach = (part, size, room) => {
      const half = Math.min(0.5, room / size / 2);
      return Math.min(1 - half, Math.max(half, part));
    };
    view.x = reach(view.x, w, box.width);
    view.y = reach(view.y, h, box.height);
    stage.style.setProperty("--x", `${box.width / 2 - view.x * w}px`);
    stage.style.setProperty("--y", `${box.height / 2 - view.y * h}px`);
    stage.style.setProperty("--w", `${w}px`);
    stage.style.setProperty("--h", `${h}px`);
    stage.classList.toggle("close", w * devicePixelRatio >= pixels);
    stage.classList.toggle("zoomed", view.zoom > 1);
    byId("zoom-out").disabled = byId("fit").disabled = view.zoom <= 1;
    byId("zoom-in").disabled = view.zoom >= most;
    scaleBar(Number(stage.dataset.metres) / w);
  }

  function scaleBar(metresPerPixel) {
    const most = Math.max(60, Math.min(160, stage.clientWidth / 3)) * metresPerPixel;
    const power = 10 ** Math.floor(Math.log10(most));
    const metres = power * [5, 2, 1].find((step) => step * power <= most);
    byId("bar").style.width = `${metres / metresPerPixel}px`;
    byId("bar-text").textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
  }

  /* A place on the screen → the part of the picture, and back to where it was after zooming. */
  function under(clientX, clientY) {
    const { box, width, height } = fitted();
    return {
      x: view.x + (clientX - box.left - box.width / 2) / (width * view.zoom),
      y: view.y + (clientY - box.top - box.height / 2) / (height * view.zoom),
    };
  }

  function zoomBy(factor, clientX, clientY) {
    const { box } = fitted();
    const [x, y] = clientX === undefined ? [box.left + box.width / 2, box.top + box.height / 2] : [clientX, clientY];
    const before = under(x, y);
    view.zoom *= factor;
    place();
    const after = under(x, y);
    view.x += before.x - after.x;
    view.y += before.y - after.y;
    place();
  }

  function pan(dx, dy) {
    const { width, height } = fitted();
    view.x -= dx / (width * view.zoom);
    view.y -= dy / (height * view.zoom);
    place();
  }

  function fit() {
    Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
    place();
  }

  function split(percent) {
    if (!divide) return;
    divide.value = Math.min(100, Math.max(0, percent));
    stage.style.setProperty("--split", `${divide.value}%`);
    divide.setAttribute("aria-valuetext", `${Math.round(divide.value)} percent image`);
  }

  /* --- pointers: one moves the divider or the picture, two zoom --- */
  const pointers = new Map();
  let dividing = false;

  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    dividing = Boolean(divide) && (view.zoom <= 1 || event.target.id === "divider");
    if (dividing && pointers.size === 1) splitAt(event);
  });
  stage.addEventListener("pointermove", (event) => {
    tell(event);
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
    pointers.set(event.pointerId, event);
    if (other) {
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      zoomBy(apart(event) / Math.max(1, apart(last)), other.clientX, other.clientY);
    } else if (dividing) splitAt(event);
    else pan(event.clientX - last.clientX, event.clientY - last.clientY);
  });
  for (const end of ["pointerup", "pointercancel"])
    stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
  stage.addEventListener("pointerleave", () => tell(null));
  stage.addEventListener("dblclick", (event) => zoomBy(2, event.clientX, event.clientY));

  function splitAt(event) {
    const { box } = fitted();
    split((100 * (event.clientX - box.left)) / box.width);
  }

  /* The page scrolls under the wheel until somebody takes the picture in hand. */
  stage.addEventListener("wheel", (event) => {
    const meant = event.ctrlKey || event.metaKey || document.activeElement === stage;
    if (!meant || (view.zoom <= 1 && event.deltaY > 0)) return;
    event.preventDefault();
    zoomBy(2 ** (-event.deltaY / (event.deltaMode ? 6 : 240)), event.clientX, event.clientY);
  }, { passive: false });

  /* --- keys and controls --- */
  const step = 60;
  const keys = {
    ArrowLeft: () => pan(step, 0),
    ArrowRight: () => pan(-step, 0),
    ArrowUp: () => pan(0, step),
    ArrowDown: () => pan(0, -step),
    "+": () => zoomBy(1.5),
    "=": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    0: fit,
    "[": () => split(Number(divide?.value) - 5),
    "]": () => split(Number(divide?.value) + 5),
  };
  stage.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow") && view.zoom <= 1) return; /* nothing to pan: the page may scroll */
    event.preventDefault();
    keys[event.key]();
  });
  byId("zoom-in").addEventListener("click", () => zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
  byId("fit").addEventListener("click", fit);
  divide?.addEventListener("input", () => split(divide.value));
  opacity?.addEventListener("input", () => stage.style.setProperty("--opacity", opacity.value / 100));
  new ResizeObserver(place).observe(stage);

  /* --- classes: the palette of the PNG is changed, not its pixels --- */
  const original = Uint8Array.from(atob(map.src.split(",")[1]), (letter) => letter.charCodeAt(0));

  function checksum(bytes) {
    let crc = ~0;
    for (const byte of bytes) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc >>> 0;
  }

  function changed(changes) {
    const bytes = original.slice(), data = new DataView(bytes.buffer);
    for (let at = 8; at < bytes.length; at += 12 + data.getUint32(at)) {
      const end = at + 8 + data.getUint32(at);
      const change = changes[String.fromCharCode(...bytes.subarray(at + 4, at + 8))];
      if (!change) continue;
      change(bytes.subarray(at + 8, end));
      data.setUint32(end, checksum(bytes.subarray(at + 4, end)));
    }
    return new Blob([bytes], { type: "image/png" });
  }

  let asked = 0, address = null;
  async function repaint() {
    const mine = ++asked;
    const off = boxes.filter((box) => !box.checked).map((box) => Number(box.value));
    const next = URL.createObjectURL(changed({ tRNS: (alpha) => off.forEach((entry) => (alpha[entry] = 0)) }));
    const ready = new Image();
    ready.src = next;
    await ready.decode();
    if (mine !== asked) return URL.revokeObjectURL(next);
    map.src = next;
    if (address) URL.revokeObjectURL(address);
    address = next;
  }
  for (const box of boxes) box.addEventListener("change", repaint);
  for (const [id, checked] of [["all", true], ["none", false]])
    byId(id).addEventListener("click", () => {
      for (const box of boxes) box.checked = checked;
      repaint();
    });

  /* --- the class under the pointer, from a copy whose colors are the palette's own numbers --- */
  const names = new Map(boxes.map((box) => [Number(box.value), box.dataset.name]));
  let numbers = null;
  async function readable() {
    const number = (palette) => palette.forEach((_, at) => (palette[at] = Math.floor(at / 3)));
    const picture = await createImageBitmap(changed({ PLTE: number }), { colorSpaceConversion: "none" });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.width, picture.height];
    const drawing = canvas.getContext("2d", { willReadFrequently: true });
    drawing.drawImage(picture, 0, 0);
    return drawing;
  }

  let latest = 0;
  async function tell(event) {
    const mine = ++latest;
    const here = event && under(event.clientX, event.clientY);
    let text = "";
    if (here && Math.min(here.x, here.y) >= 0 && Math.max(here.x, here.y) < 1) {
      const drawing = await (numbers ??= readable());
      const { width, height } = drawing.canvas;
      const at = drawing.getImageData(Math.floor(here.x * width), Math.floor(here.y * height), 1, 1);
      text = names.get(at.data[0]) ?? "";
    }
    if (mine === latest) byId("here").textContent = text;
  }

  split(divide ? divide.value : 0);
  place();
})();
