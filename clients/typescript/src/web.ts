/** Milepost for browsers: gRPC-Web over fetch, to a gateway. */

import { create, toBinary } from "@bufbuild/protobuf";
import { Code, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { encodeEnvelope } from "@connectrpc/connect/protocol";

import type { Token } from "./calls.js";
import { Milepost, type Patience } from "./client.js";
import { MilepostError } from "./errors.js";
import type { SourceFile } from "./upload.js";

export * from "./exports.js";

/** Where and as whom to connect. */
export interface ConnectOptions extends Patience {
  /** The gateway, `https://host`; by default where the page came from. */
  readonly gateway?: string;
  /** Bearer token (JWT). */
  readonly token?: Token;
}

/** A client of a gateway; calls when it is asked to. */
export function connect(options: ConnectOptions = {}): Milepost {
  const transport = withUploads({ baseUrl: options.gateway ?? globalThis.location.origin });
  return new Milepost({ ...options, sessionApi: transport, eventStore: transport, sha256 });
}

/** Files that a user chose, of `<input type="file" webkitdirectory>`: paths are below the chosen directory. */
export function chosenFiles(files: Iterable<File>): SourceFile[] {
  return [...files].map((file) => ({
    path: file.webkitRelativePath.split("/").slice(1).join("/") || file.name,
    content: file,
  }));
}

/**
 * A gRPC-Web transport that also sends client streams: fetch takes no stream as a body everywhere, but a Blob, which the
 * browser keeps on disk when it is large. So the messages are gathered in one, and go as the body of one request.
 */
function withUploads(options: Parameters<typeof createGrpcWebTransport>[0]): Transport {
  const inner = createGrpcWebTransport(options);
  return {
    unary: inner.unary,
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      if (method.methodKind !== "client_streaming") {
        return inner.stream(method, signal, timeoutMs, header, input, contextValues);
      }
      const frames: Blob[] = [];
      for await (const part of input) {
        frames.push(new Blob([encodeEnvelope(0, toBinary(method.input, create(method.input, part)))]));
      }
      const body = new Blob(frames);
      const carrier = createGrpcWebTransport({ ...options, fetch: (url, init) => fetch(url, { ...init, body }) });
      // One answer to one body: to HTTP a call like any other. The empty message is not sent.
      const empty = create(method.input);
      const answer = await carrier.unary({ ...method, methodKind: "unary" }, signal, timeoutMs, header, empty, contextValues);
      return { ...answer, stream: true, method, message: only(answer.message) };
    },
  };
}

async function* only<T>(message: T): AsyncGenerator<T> {
  yield message;
}

async function sha256(content: Blob): Promise<string> {
  if (globalThis.crypto.subtle === undefined) {
    const why = "browsers take digests only on pages that are served over TLS or from this machine";
    throw new MilepostError(Code.FailedPrecondition, "NO_DIGESTS", why);
  }
  const digest = await crypto.subtle.digest("SHA-256", await content.arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
