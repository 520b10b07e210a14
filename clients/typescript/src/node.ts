/** Milepost for Node.js: gRPC over HTTP/2, straight to the services. */

import { createHash } from "node:crypto";
import { openAsBlob, readFileSync } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import type { SecureContextOptions } from "node:tls";

import { Code, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import type { Token } from "./calls.js";
import { MAX_MESSAGE_BYTES, Milepost, type Patience } from "./client.js";
import { MilepostError } from "./errors.js";
import type { Scenario } from "./gen/milepost/scenario/v1/scenario_pb.js";
import type { ScenarioSource, SourceFile, UploadOptions } from "./upload.js";

export * from "./exports.js";

/** The content of a PEM file. */
export type Pem = string | Uint8Array;

/** Where and as whom to connect. */
export interface ConnectOptions extends Patience {
  /** session_api, `host:port`; by default MILEPOST_SERVER, else 127.0.0.1:7400. */
  readonly server?: string;
  /** event_store, `host:port`; by default MILEPOST_EVENT_STORE, else the port after that of `server`. */
  readonly eventStore?: string;
  /** Bearer token (JWT); by default MILEPOST_TOKEN. Without `tls` it travels in the clear. */
  readonly token?: Token;
  /**
   * Connect over TLS: authorities of the servers' certificates, and this client's own certificate (PEM); by default the
   * files that MILEPOST_TLS_CA, MILEPOST_TLS_CERT and MILEPOST_TLS_KEY name.
   */
  readonly tls?: { readonly ca?: Pem; readonly cert?: Pem; readonly key?: Pem };
}

/** The servers permit a ping every 10 s; a dead peer is noticed within 20 s of an open call. */
const PING = { pingIntervalMs: 15_000, pingTimeoutMs: 5_000 };
const NOT_HIDDEN = /^[^.]/;

/** A client; connects on first use, and does not keep a process alive that has nothing else to do. */
export function connect(options: ConnectOptions = {}): Milepost {
  const { env } = process;
  const server = options.server ?? (env["MILEPOST_SERVER"] || "127.0.0.1:7400");
  const eventStore = options.eventStore ?? (env["MILEPOST_EVENT_STORE"] || eventStoreBeside(server));
  const tls = options.tls ?? tlsFromEnvironment();
  const [api, store] = [reach(server, tls), reach(eventStore, tls)];
  return new Milepost({
    ...options,
    token: options.token ?? env["MILEPOST_TOKEN"],
    sessionApi: api.transport,
    eventStore: store.transport,
    sha256,
    close: () => [api, store].forEach(({ sessions }) => sessions.abort(new Error("closed"))),
  });
}

/** Upload a directory, a `.sumocfg` with the directory it lies in, or a zip archive. See `scenarioFiles`. */
export async function uploadPath(milepost: Milepost, path: string, options: UploadOptions = {}): Promise<Scenario> {
  const { source, configPath } = await scenarioFiles(path);
  const displayName = options.displayName || basename(path, extname(path));
  return milepost.upload(source, { ...(configPath && { configPath }), ...options, displayName });
}

/**
 * What an upload of a path consists of: a zip archive as it is; of a directory every regular file below it but hidden
 * ones, so keep outputs elsewhere. Throws SCENARIO_FILES for what cannot be read and for symbolic links.
 */
export async function scenarioFiles(path: string): Promise<{ source: ScenarioSource; configPath?: string }> {
  try {
    const found = await lstat(path);
    if (found.isDirectory()) return { source: await filesBelow(path, "") };
    if (await isZip(path)) return { source: await openAsBlob(path) };
    return { source: await filesBelow(dirname(path), ""), configPath: basename(path) };
  } catch (thrown) {
    if (thrown instanceof MilepostError) throw thrown;
    throw new MilepostError(Code.InvalidArgument, "SCENARIO_FILES", String(thrown), {}, { cause: thrown });
  }
}

async function filesBelow(root: string, below: string): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    const path = below ? `${below}/${entry.name}` : entry.name;
    if (entry.isSymbolicLink()) {
      throw new MilepostError(Code.InvalidArgument, "SCENARIO_FILES", `${path} is a symbolic link`);
    }
    if (entry.isDirectory() && NOT_HIDDEN.test(entry.name)) files.push(...(await filesBelow(root, path)));
    if (entry.isFile() && NOT_HIDDEN.test(entry.name)) {
      files.push({ path, content: await openAsBlob(join(root, path)) });
    }
  }
  return files;
}

async function isZip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.readUInt32BE() === 0x504b0304;
  } finally {
    await file.close();
  }
}

/** What the environment says of TLS; undefined: nothing. Throws for a file that cannot be read. */
function tlsFromEnvironment(): ConnectOptions["tls"] {
  const named = (name: string) => {
    const path = process.env[`MILEPOST_TLS_${name}`];
    return path ? readFileSync(path) : undefined;
  };
  const [ca, cert, key] = [named("CA"), named("CERT"), named("KEY")];
  return ca && { ca, ...(cert && { cert }), ...(key && { key }) };
}

function reach(address: string, tls: ConnectOptions["tls"]): { transport: Transport; sessions: Http2SessionManager } {
  const baseUrl = `${tls ? "https" : "http"}://${address}`;
  const given = Object.entries(tls ?? {}).map(([name, pem]) => [name, Buffer.from(pem as Uint8Array)]);
  const sessions = new Http2SessionManager(baseUrl, PING, Object.fromEntries(given) as SecureContextOptions);
  const limits = { readMaxBytes: MAX_MESSAGE_BYTES, writeMaxBytes: MAX_MESSAGE_BYTES };
  return { transport: createGrpcTransport({ baseUrl, sessionManager: sessions, ...limits }), sessions };
}

function eventStoreBeside(server: string): string {
  const [, host, port] = /^(.+):(\d+)$/.exec(server) ?? [];
  if (host === undefined) throw new TypeError(`${server} is not host:port`);
  return `${host}:${Number(port) + 1}`;
}

async function sha256(content: Blob): Promise<string> {
  const digest = createHash("sha256");
  for await (const piece of content.stream()) digest.update(piece);
  return digest.digest("hex");
}
