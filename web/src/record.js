// Pictures and videos of the canvas.

const TYPES = ["video/mp4;codecs=avc1.42E01F", "video/mp4", "video/webm;codecs=vp9", "video/webm"];

export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export class Recorder {
  constructor(stage, name) {
    this.stage = stage;
    this.name = name;
    this.recorder = null;
    this.onchange = () => {};
  }

  get isPossible() {
    return "MediaRecorder" in window && "captureStream" in this.stage.canvas;
  }

  toggle() {
    if (this.recorder) this.recorder.stop();
    else this.start();
  }

  start() {
    const { stage } = this;
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const recorder = new MediaRecorder(stage.canvas.captureStream(60), { mimeType, videoBitsPerSecond: 12e6 });
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      this.recorder = null;
      stage.helpers.visible = true;
      stage.invalidate();
      this.onchange();
      download(new Blob(parts, { type: recorder.mimeType }), `${this.name}.${recorder.mimeType.includes("mp4") ? "mp4" : "webm"}`);
    };
    stage.helpers.visible = false; // no cameras and boxes in the video
    stage.invalidate();
    recorder.start();
    this.recorder = recorder;
    this.onchange();
  }
}
