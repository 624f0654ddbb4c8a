// Copyright (c) 2026, the m3vit-pynq authors
// SPDX-License-Identifier: BSD-3-Clause
//
// The live picture in the browser. Every frame is answered when it is on the
// screen, so that the sender never gets ahead of a slow browser; a page that is
// hidden answers when it is seen again. With "camera" messages the page's own
// camera is opened, and sends one picture for every "grab".

function initialize({ model }) {
  const camera = makeCamera(model);
  const listen = (message) => {
    if (message.type === "camera") message.on ? camera.open() : camera.close();
    if (message.type === "grab") camera.grab();
  };
  model.on("msg:custom", listen);
  return () => {
    model.off("msg:custom", listen);
    camera.close();
  };
}

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.className = "m3vit-live-canvas";
  canvas.width = 640;
  canvas.height = 480;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  const context = canvas.getContext("2d");
  el.classList.add("m3vit-live-screen");
  el.appendChild(canvas);

  let next = null; // the newest frame that is not drawn yet
  let drawing = false;
  let owed = null; // the serial to answer as soon as the page is visible

  const answer = (serial) => {
    if (document.hidden) owed = serial;
    else model.send({ type: "shown", serial });
  };

  const draw = async () => {
    if (drawing) return;
    drawing = true;
    while (next !== null) {
      const { serial, data } = next;
      next = null;
      try {
        const picture = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
        if (canvas.width !== picture.width) canvas.width = picture.width;
        if (canvas.height !== picture.height) canvas.height = picture.height;
        context.drawImage(picture, 0, 0);
        picture.close();
        canvas.dataset.serial = serial;
      } catch (error) {
        console.warn("m3vit-pynq: a frame could not be drawn", error);
      }
      answer(serial);
    }
    drawing = false;
  };

  const listen = (message, buffers) => {
    if (message.type === "frame") {
      next = { serial: message.serial, data: buffers[0] };
      draw();
    } else if (message.type === "question") {
      answer(message.serial);
    }
  };
  const seen = () => {
    if (document.hidden || owed === null) return;
    model.send({ type: "shown", serial: owed });
    owed = null;
  };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    if (x >= 0 && x < 1 && y >= 0 && y < 1) model.send({ type: "point", x, y });
  };
  const drag = (event) => {
    if (event.buttons & 1) point(event);
  };
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const key = (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ type: "step", x: step[0], y: step[1] });
  };
  const label = () => canvas.setAttribute("aria-label", model.get("label"));

  label();
  model.on("change:label", label);
  model.on("msg:custom", listen);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointermove", drag);
  canvas.addEventListener("keydown", key);
  document.addEventListener("visibilitychange", seen);
  model.send({ type: "hello" });

  return () => {
    model.off("change:label", label);
    model.off("msg:custom", listen);
    document.removeEventListener("visibilitychange", seen);
  };
}

// Milliseconds after which a picture is taken though the camera shows the same as before.
const STILL = 250;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function makeCamera(model) {
  const video = document.createElement("video");
  const sheet = document.createElement("canvas");
  let stream = null;
  let opening = false;
  let grabbing = false; // a picture is wanted, and not on its way yet
  let taken = -1; // when in the video the last picture was

  const say = (content, buffers) => model.send({ type: "camera", ...content }, undefined, buffers);

  const close = () => {
    opening = false;
    if (stream !== null) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
  };

  const open = async () => {
    if (opening) return;
    if (stream !== null) {
      say({ width: video.videoWidth, height: video.videoHeight });
      return;
    }
    if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) {
      say({ error: "insecure" });
      return;
    }
    opening = true;
    try {
      const wanted = { width: { ideal: 640 }, height: { ideal: 480 } };
      const opened = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
      if (!opening) {
        opened.getTracks().forEach((track) => track.stop());
        return;
      }
      stream = opened;
      stream.getVideoTracks()[0].onended = () => {
        close();
        say({ error: "ended" });
      };
      video.muted = true;
      video.playsInline = true;
      video.srcObject = stream;
      await video.play();
      say({ width: video.videoWidth, height: video.videoHeight });
    } catch (error) {
      close();
      say({ error: error.name || "unknown", text: String(error.message || error) });
    } finally {
      opening = false;
    }
  };

  const grab = async () => {
    if (grabbing) return;
    grabbing = true;
    try {
      const picture = await take();
      if (picture !== null) say({ frame: true }, [picture.buffer]);
    } catch (error) {
      console.warn("m3vit-pynq: no picture of the camera", error);
    } finally {
      grabbing = false;
    }
  };

  // The next picture as a JPEG; null without a camera.
  const take = async () => {
    const end = performance.now() + STILL;
    // No picture is sent twice, unless the camera stands still.
    while (video.currentTime === taken && performance.now() < end) await pause(10);
    if (stream === null || !video.videoWidth) return null;
    taken = video.currentTime;
    sheet.width = video.videoWidth;
    sheet.height = video.videoHeight;
    sheet.getContext("2d").drawImage(video, 0, 0);
    // Not toBlob: Chromium encodes when a page is idle, and this one may not be for seconds.
    const base64 = sheet.toDataURL("image/jpeg", 0.85).split(",")[1];
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  };

  return { open, close, grab };
}

export default { initialize, render };
