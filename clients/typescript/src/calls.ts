/**
 * What happens around every call, whatever carries it: it says who calls, it is made again while that can help, and its
 * failure is a MilepostError.
 *
 * A call is made again while the server is away (UNAVAILABLE) or several writers met (ABORTED). That is safe for every
 * call: reads change nothing, and everything that creates or commands has a `request_id`, which is set here unless the
 * caller has set it, so that all tries are one wish.
 */

import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { deadlineExceeded, errorFrom } from "./errors.js";

/** Who calls: a bearer token (JWT), or what gives the one to use now. */
export type Token = string | (() => string | Promise<string>);

/** What even the last try may take, ms: a server that came back at the last moment still answers. */
const LAST_TRY_MS = 5_000;
/** What a question that has to be simulated may take, ms: as long as a day of a large city. */
const REPLAY_MS = 3_600_000;
const REPLAYS = new Set(["GetSessionState", "VerifySession"]);

/** A transport with all that around another one. `retryForMs`: how long a call without a deadline is tried. */
export function careful(inner: Transport, retryForMs: number, token: Token | undefined): Transport {
  const signed = async (header: HeadersInit | undefined): Promise<Headers> => {
    const all = new Headers(header);
    const value = typeof token === "function" ? await token() : token;
    if (value && !all.has("authorization")) all.set("authorization", `Bearer ${value}`);
    return all;
  };
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const wish = named(method.input, input);
      const wholeMs = timeoutMs ?? (REPLAYS.has(method.name) ? REPLAY_MS : undefined);
      const backoff = new Backoff(wholeMs ?? retryForMs);
      for (;;) {
        // gRPC knows whole milliseconds only.
        const leftMs = Math.ceil(backoff.remainingMs);
        const tryMs = wholeMs === undefined ? Math.max(leftMs, LAST_TRY_MS) : leftMs;
        if (tryMs <= 0) throw deadlineExceeded();
        try {
          return await inner.unary(method, signal, tryMs, await signed(header), wish, contextValues);
        } catch (thrown) {
          const error = errorFrom(thrown, signal);
          if (!error.mayPass) throw error;
          await backoff.wait(error, signal).catch((last: unknown) => {
            throw last === error && timeoutMs !== undefined ? deadlineExceeded(error) : last;
          });
        }
      }
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      try {
        const wholeMs = timeoutMs && Math.ceil(timeoutMs);
        const answer = await inner.stream(method, signal, wholeMs, await signed(header), input, contextValues);
        return { ...answer, message: typed(answer.message, signal) } as typeof answer;
      } catch (thrown) {
        throw errorFrom(thrown, signal);
      }
    },
  };
}

/** The request as a message, with a request id if it has one. */
function named<I extends DescMessage>(schema: I, input: MessageInitShape<I>): MessageShape<I> {
  const message = create(schema, input);
  const field = schema.field["requestId"];
  if (field !== undefined) {
    const request = message as MessageShape<I> & { requestId: string };
    request.requestId ||= newRequestId();
  }
  return message;
}

/** A random UUID; `crypto.randomUUID` is not there on pages that are neither local nor served over TLS. */
function newRequestId(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

async function* typed<T>(messages: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw errorFrom(thrown, signal);
  }
}
