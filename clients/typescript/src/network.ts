/**
 * The network of a session as lines to draw: read from the scenario's net file, in the coordinates of frames (m, x to the
 * east, y to the north).
 */

/** One lane. */
export interface Lane {
  readonly id: string;
  /** The edge it is part of. */
  readonly edgeId: string;
  /** Within a junction. */
  readonly internal: boolean;
  /** Of its centre: x0, y0, x1, y1 …, m. */
  readonly shape: Float32Array;
  /** m. */
  readonly widthM: number;
  /** What it allows, m/s. */
  readonly speedMps: number;
}

/** The lanes of a network, the outlines of its junctions, and the box around it all. */
export interface Network {
  readonly lanes: readonly Lane[];
  readonly junctions: readonly Float32Array[];
  readonly box: { readonly xMin: number; readonly yMin: number; readonly xMax: number; readonly yMax: number };
}

/** SUMO's default, m. */
const LANE_WIDTH_M = 3.2;
const ELEMENT = /<!--[^]*?-->|<(edge|lane|junction)\s([^>]*?)\/?>/g;

/** A network from a net file, `.net.xml` or `.net.xml.gz`. */
export async function parseNetwork(file: Blob): Promise<Network> {
  const zipped = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const isZipped = zipped[0] === 0x1f && zipped[1] === 0x8b;
  const stream = isZipped ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  return read(await new Response(stream).text());
}

function read(xml: string): Network {
  const lanes: Lane[] = [];
  const junctions: Float32Array[] = [];
  let [edgeId, internal] = ["", false];
  const box = { xMin: Infinity, yMin: Infinity, xMax: -Infinity, yMax: -Infinity };
  // A net file has a million elements of no interest here, and SUMO writes no `>` within attributes.
  for (const [, element, attributes = ""] of xml.matchAll(ELEMENT)) {
    const value = (name: string) => attribute(attributes, name);
    const shape = element === "edge" ? "" : value("shape");
    switch (element) {
      case "edge":
        edgeId = value("id");
        internal = value("function") === "internal";
        break;
      case "lane":
        lanes.push({
          id: value("id"),
          edgeId,
          internal,
          shape: points(shape, box),
          widthM: Number(value("width")) || LANE_WIDTH_M,
          speedMps: Number(value("speed")),
        });
        break;
      case "junction":
        if (shape) junctions.push(points(shape, box));
    }
  }
  return { lanes, junctions, box };
}

function attribute(attributes: string, name: string): string {
  const found = new RegExp(`(?:^|\\s)${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`).exec(attributes);
  return found?.[1] ?? found?.[2] ?? "";
}

/** `x,y x,y …` or `x,y,z …` as x and y; the box grows around them. */
function points(shape: string, box: { xMin: number; yMin: number; xMax: number; yMax: number }): Float32Array {
  const corners = shape.trim().split(/\s+/);
  const flat = new Float32Array(corners.length * 2);
  corners.forEach((corner, at) => {
    const [x = NaN, y = NaN] = corner.split(",", 2).map(Number);
    flat[2 * at] = x;
    flat[2 * at + 1] = y;
    box.xMin = Math.min(box.xMin, x);
    box.xMax = Math.max(box.xMax, x);
    box.yMin = Math.min(box.yMin, y);
    box.yMax = Math.max(box.yMax, y);
  });
  return flat;
}
