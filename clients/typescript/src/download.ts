/** Downloads of blobs (artifacts, scenario files) by content; they go on where they stood after a broken connection. */

import { Code, type Client } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { errorFrom, MilepostError } from "./errors.js";
import type { BlobService } from "./gen/milepost/blob/v1/blob_service_pb.js";

/** What names a blob: an `Artifact` of a session, a `ScenarioFile` … */
export interface BlobName {
  readonly sha256: string;
  readonly sizeBytes: bigint;
}

/** The whole content. Throws BLOB_NOT_FOUND, UNREACHABLE, and DIGEST_MISMATCH when it is not what its name says. */
export async function download(
  blobs: Client<typeof BlobService>,
  { sha256, sizeBytes }: BlobName,
  signal: AbortSignal | undefined,
  platform: { retryForMs: number; sha256: (content: Blob) => Promise<string> },
): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let received = 0n;
  const backoff = new Backoff(platform.retryForMs);
  while (received < sizeBytes) {
    try {
      for await (const { content } of blobs.downloadBlob({ sha256, offset: received }, signal ? { signal } : {})) {
        backoff.succeeded();
        pieces.push(content as Uint8Array<ArrayBuffer>);
        received += BigInt(content.length);
      }
      break;
    } catch (thrown) {
      const error = errorFrom(thrown, signal);
      if (error.code !== Code.Unavailable) throw error;
      await backoff.wait(error, signal);
    }
  }
  const whole = new Blob(pieces);
  const actual = await platform.sha256(whole);
  if (actual !== sha256) {
    const metadata = { expected: sha256, actual };
    throw new MilepostError(Code.DataLoss, "DIGEST_MISMATCH", "this is not what was stored", { metadata });
  }
  return whole;
}
