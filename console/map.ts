/** The map: a network below, vehicles above, each on a canvas of its own; it can be dragged and zoomed. */

import type { Frame, Network } from "milepost";

/** Drawn as long and as wide, m; but never smaller than can be seen, pixels. */
const VEHICLE_M = { length: 5, width: 2 };
const LEAST_PX = { length: 9, width: 5 };
/** Speed at which a vehicle is as green as can be, m/s. */
const FAST_MPS = 50 / 3.6;
const MARGIN = 0.04;
/** A gap between two frames after which vehicles jump instead of gliding, ms. */
const GLIDE_MS = 1_000;

interface Vehicle {
  x: number;
  y: number;
  angle: number;
  speed: number;
}

/** Shows one network at a time. */
export class NetworkMap {
  #network: Network | undefined;
  #before = new Map<string, Vehicle>();
  #now = new Map<string, Vehicle>();
  #arrived = 0;
  #gapMs = 0;
  /** Pixels per metre, and the point of the network (m) in the middle. */
  #scale = 1;
  #middle = { x: 0, y: 0 };
  #drawing = false;
  readonly #host: HTMLElement;

  constructor(
    readonly ground: HTMLCanvasElement,
    readonly top: HTMLCanvasElement,
  ) {
    this.#host = top.parentElement!;
    new ResizeObserver(() => this.#resize()).observe(this.#host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawNetwork());
    this.#listen();
  }

  /** Show another network, whole, without vehicles; undefined: nothing. */
  show(network: Network | undefined): void {
    this.#network = network;
    this.#before.clear();
    this.#now.clear();
    this.fit();
  }

  /** Show the vehicles of a frame; they glide there from where they were. */
  frame(frame: Frame): void {
    const arrived = performance.now();
    this.#gapMs = Math.min(arrived - this.#arrived, GLIDE_MS);
    this.#arrived = arrived;
    this.#before = this.#now;
    this.#now = new Map(
      frame.ids.map((id, at) => [
        id,
        { x: frame.x[at]!, y: frame.y[at]!, angle: frame.angleDeg[at]!, speed: frame.speedMps[at]! },
      ]),
    );
    this.#host.dataset["vehicles"] = String(frame.ids.length);
    this.#animate();
  }

  /** Take all vehicles away. */
  clear(): void {
    this.#before.clear();
    this.#now.clear();
    this.#host.dataset["vehicles"] = "0";
    this.#animate();
  }

  /** Show the whole network. */
  fit(): void {
    if (this.#network !== undefined) {
      const { xMin, yMin, xMax, yMax } = this.#network.box;
      const { width, height } = this.#size();
      const room = 1 - 2 * MARGIN;
      this.#scale = Math.min((width * room) / (xMax - xMin || 1), (height * room) / (yMax - yMin || 1));
      this.#middle = { x: (xMin + xMax) / 2, y: (yMin + yMax) / 2 };
    }
    this.#host.dataset["lanes"] = String(this.#network?.lanes.length ?? 0);
    this.#drawNetwork();
    this.#animate();
  }

  #size(): { width: number; height: number } {
    return { width: this.#host.clientWidth, height: this.#host.clientHeight };
  }

  #resize(): void {
    const { width, height } = this.#size();
    for (const canvas of [this.ground, this.top]) {
      canvas.width = width * devicePixelRatio;
      canvas.height = height * devicePixelRatio;
    }
    this.fit();
  }

  /** A canvas, empty, in the network's coordinates: m, y to the north. */
  #prepared(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
    const context = canvas.getContext("2d")!;
    const scale = this.#scale * devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const left = canvas.width / 2 - this.#middle.x * scale;
    context.setTransform(scale, 0, 0, -scale, left, canvas.height / 2 + this.#middle.y * scale);
    return context;
  }

  #drawNetwork(): void {
    const context = this.#prepared(this.ground);
    if (this.#network === undefined) return;
    const { color, fill } = getComputedStyle(this.ground);
    context.fillStyle = fill;
    for (const outline of this.#network.junctions) {
      context.beginPath();
      trace(context, outline);
      context.fill();
    }
    context.strokeStyle = color;
    context.lineJoin = "round";
    for (const lane of this.#network.lanes) {
      if (lane.internal) continue;
      context.lineWidth = Math.max(lane.widthM, 1.2 / this.#scale);
      context.beginPath();
      trace(context, lane.shape);
      context.stroke();
    }
  }

  /** Draw until the vehicles are where the last frame has them. */
  #animate(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    const draw = () => {
      const share = this.#gapMs > 0 ? Math.min((performance.now() - this.#arrived) / this.#gapMs, 1) : 1;
      this.#drawVehicles(share);
      this.#drawing = share < 1;
      if (this.#drawing) requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  #drawVehicles(share: number): void {
    const context = this.#prepared(this.top);
    const length = Math.max(VEHICLE_M.length, LEAST_PX.length / this.#scale);
    const width = Math.max(VEHICLE_M.width, LEAST_PX.width / this.#scale);
    const upright = context.getTransform();
    for (const [id, { x, y, angle, speed }] of this.#now) {
      const from = this.#before.get(id) ?? { x, y };
      context.setTransform(upright);
      context.translate(from.x + (x - from.x) * share, from.y + (y - from.y) * share);
      context.rotate((-angle * Math.PI) / 180);
      context.fillStyle = colour(speed);
      // The position is that of the front: an arrow head, the rest behind it.
      context.beginPath();
      context.moveTo(0, 0);
      context.lineTo(width / 2, -length * 0.35);
      context.lineTo(width / 2, -length);
      context.lineTo(-width / 2, -length);
      context.lineTo(-width / 2, -length * 0.35);
      context.fill();
    }
  }

  #listen(): void {
    this.top.addEventListener("pointerdown", (event) => this.top.setPointerCapture(event.pointerId));
    this.top.addEventListener("pointermove", (event) => {
      if (!this.top.hasPointerCapture(event.pointerId)) return;
      this.#middle.x -= event.movementX / this.#scale;
      this.#middle.y += event.movementY / this.#scale;
      this.#redraw();
    });
    const zoom = (event: WheelEvent) => {
      event.preventDefault();
      const factor = Math.exp(-event.deltaY / 400);
      const { width, height } = this.#size();
      // What is below the pointer stays there.
      const [right, up] = [event.offsetX - width / 2, height / 2 - event.offsetY];
      this.#middle.x += (right / this.#scale) * (1 - 1 / factor);
      this.#middle.y += (up / this.#scale) * (1 - 1 / factor);
      this.#scale *= factor;
      this.#redraw();
    };
    this.top.addEventListener("wheel", zoom, { passive: false });
  }

  #redraw(): void {
    this.#drawNetwork();
    this.#animate();
  }
}

function trace(context: CanvasRenderingContext2D, shape: Float32Array): void {
  for (let at = 0; at < shape.length; at += 2) {
    if (at === 0) context.moveTo(shape[0]!, shape[1]!);
    else context.lineTo(shape[at]!, shape[at + 1]!);
  }
}

/** Red standing, over yellow to green. */
function colour(speedMps: number): string {
  const share = Math.min(Math.max(speedMps / FAST_MPS, 0), 1);
  return `hsl(${Math.round(share * 130)} 85% ${50 - share * 10}%)`;
}
