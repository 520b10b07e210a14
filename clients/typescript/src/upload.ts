/**
 * Uploads of scenarios, by content: only those files travel that the server does not hold yet. An upload that broke off
 * is asked for again and goes on with what is missing. Where the bytes come from is the platform's affair: a Blob is a
 * file on disk in Node.js and in browsers alike, read as it is sent.
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, type Client } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { errorFrom, MilepostError } from "./errors.js";
import { ScenarioFileSchema, type Scenario, type ScenarioFile } from "./gen/milepost/scenario/v1/scenario_pb.js";
import type { ScenarioService, UploadScenarioRequestSchema } from "./gen/milepost/scenario/v1/scenario_service_pb.js";

/** A file of a scenario: its path below the scenario's root, with `/`, and its content. */
export interface SourceFile {
  readonly path: string;
  readonly content: Blob;
}

/** What is uploaded: files, or one zip archive of them. */
export type ScenarioSource = readonly SourceFile[] | Blob;

/** How; everything has a default. */
export interface UploadOptions {
  /** Free text for humans. */
  readonly displayName?: string;
  /** The `.sumocfg` to run; may be left out when there is exactly one. */
  readonly configPath?: string;
  /** Have it validated, and store nothing. */
  readonly validateOnly?: boolean;
  /** Ends the upload. */
  readonly signal?: AbortSignal;
  /** Headers of its calls. */
  readonly headers?: HeadersInit;
  /** Is told how many bytes of how many were handed over. */
  readonly onProgress?: (sentBytes: number, totalBytes: number) => void;
}

type UploadPart = MessageInitShape<typeof UploadScenarioRequestSchema>;

const CHUNK_BYTES = 512 * 1024;
/** Uploads are as long as they are; a call without any deadline could hang for ever, ms. */
const UPLOAD_MS = 3_600_000;

/**
 * Upload; validated before it is stored. Throws the MilepostError of the server: SCENARIO_INVALID with a violation per
 * finding (`file:line`), SCENARIO_TOO_LARGE, QUOTA_EXCEEDED …
 */
export async function upload(
  scenarios: Client<typeof ScenarioService>,
  source: ScenarioSource,
  options: UploadOptions,
  { retryForMs, sha256 }: { retryForMs: number; sha256: (content: Blob) => Promise<string> },
): Promise<Scenario> {
  const { displayName = "", configPath = "", validateOnly = false, signal, headers } = options;
  const isZip = source instanceof Blob;
  const files = isZip ? [] : await manifest(source, sha256);
  const content: UploadPart["part"] = {
    case: "header",
    value: {
      displayName,
      configPath,
      validateOnly,
      content: isZip ? { case: "zip", value: {} } : { case: "manifest", value: { files } },
    },
  };
  const call = { timeoutMs: UPLOAD_MS, ...(signal && { signal }), ...(headers && { headers }) };
  const backoff = new Backoff(retryForMs);
  for (;;) {
    try {
      const sent = isZip ? [{ path: "", content: source }] : await missing(scenarios, source, files, options);
      const answer = await scenarios.uploadScenario(parts(content, sent, options), call);
      return answer.scenario!;
    } catch (thrown) {
      const error = errorFrom(thrown, signal);
      if (!error.mayPass) throw error;
      await backoff.wait(error, signal);
    }
  }
}

/** The files as the contract lists them: by digest, sorted by path as bytes. */
async function manifest(
  source: readonly SourceFile[],
  sha256: (content: Blob) => Promise<string>,
): Promise<ScenarioFile[]> {
  if (source.length === 0) throw new MilepostError(Code.InvalidArgument, "SCENARIO_FILES", "there are no files");
  const encoder = new TextEncoder();
  const keyed = source.map((file) => ({ file, key: encoder.encode(file.path) }));
  keyed.sort((a, b) => compareBytes(a.key, b.key));
  const files: ScenarioFile[] = [];
  for (const { file } of keyed) {
    const digest = await sha256(file.content);
    files.push(create(ScenarioFileSchema, { path: file.path, sha256: digest, sizeBytes: BigInt(file.content.size) }));
  }
  return files;
}

/** Those files that the server does not hold, in the manifest's order. */
async function missing(
  scenarios: Client<typeof ScenarioService>,
  source: readonly SourceFile[],
  files: ScenarioFile[],
  { signal, headers }: UploadOptions,
): Promise<SourceFile[]> {
  const call = { ...(signal && { signal }), ...(headers && { headers }) };
  const wanted = new Set((await scenarios.findMissingFiles({ files }, call)).paths);
  const byPath = new Map(source.map((file) => [file.path, file]));
  return files.filter((file) => wanted.has(file.path)).map((file) => byPath.get(file.path)!);
}

async function* parts(
  header: UploadPart["part"],
  files: readonly SourceFile[],
  { onProgress }: UploadOptions,
): AsyncGenerator<UploadPart> {
  yield { part: header! };
  const totalBytes = files.reduce((sum, file) => sum + file.content.size, 0);
  let sentBytes = 0;
  for (const { path, content } of files) {
    // An empty file is one empty chunk.
    for (let offset = 0; offset < content.size || offset === 0; offset += CHUNK_BYTES) {
      const piece = new Uint8Array(await content.slice(offset, offset + CHUNK_BYTES).arrayBuffer());
      yield { part: { case: "chunk", value: { path, offset: BigInt(offset), content: piece } } };
      sentBytes += piece.length;
      onProgress?.(sentBytes, totalBytes);
    }
  }
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) if (a[at] !== b[at]) return a[at]! - b[at]!;
  return a.length - b.length;
}
