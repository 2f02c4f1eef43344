// Time: play, pause, step, speed, and what happens at the end.

export const LOOPS = ["loop", "ping-pong", "once"];

export class Player {
  constructor(scene, header) {
    this.scene = scene;
    [this.first, this.last] = header.seconds ?? [0, 0];
    this.time = this.first;
    this.isPlaying = false;
    this.speed = 1;
    this.loop = "loop";
    this.direction = 1;
    this.steps = stepsOf(header, this.first, this.last);
    this.onchange = () => {};
  }

  get isMoving() {
    return this.last > this.first;
  }

  async seek(time) {
    this.time = Math.min(Math.max(time, this.first), this.last);
    this.onchange();
    await this.scene.seek(this.time);
  }

  toggle() {
    if (!this.isMoving) return;
    this.isPlaying = !this.isPlaying;
    if (this.isPlaying && this.loop === "once" && this.time >= this.last) this.time = this.first;
    this.onchange();
  }

  pause() {
    if (this.isPlaying) this.toggle();
  }

  /** Go to the next stored time, or the one before. */
  step(count) {
    this.pause();
    const { steps } = this;
    const tiny = 1e-6 * (this.last - this.first);
    const ahead = steps.findIndex((time) => time > this.time + tiny);
    const behind = steps.findLastIndex((time) => time < this.time - tiny);
    if (count > 0) return this.seek(ahead < 0 ? steps[0] : steps[ahead]);
    return this.seek(behind < 0 ? steps.at(-1) : steps[behind]);
  }

  update(elapsed) {
    if (!this.isPlaying) return;
    const span = this.last - this.first;
    let time = this.time + this.direction * elapsed * this.speed;
    if (time > this.last || time < this.first) {
      if (this.loop === "ping-pong") {
        this.direction = time > this.last ? -1 : 1;
        time = time > this.last ? 2 * this.last - time : 2 * this.first - time;
      } else if (this.loop === "loop") {
        time = this.first + ((((time - this.first) % span) + span) % span);
      } else {
        this.isPlaying = false;
      }
    }
    this.seek(time);
  }

  setLoop(loop) {
    this.loop = loop;
    this.direction = 1;
    this.onchange();
  }
}

/** Stored time steps, else the input images' times, else 24 even ones. */
function stepsOf(header, first, last) {
  if (header.times) return header.times;
  const times = header.cameras.flatMap((camera) => camera.times).filter((time) => time >= first && time <= last);
  const distinct = [...new Set(times)].sort((a, b) => a - b);
  return distinct.length > 1 ? distinct : Array.from({ length: 25 }, (_, i) => first + ((last - first) * i) / 24);
}
