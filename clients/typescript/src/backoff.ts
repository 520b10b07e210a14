/** How long to wait before another try, and when to give up. */

import { abortedBy, type MilepostError } from "./errors.js";

/** First and longest wait between two tries, ms; each is drawn at random from half to all of it. */
const FIRST_MS = 100;
const LONGEST_MS = 2_000;

/** `retryForMs` counts from construction or from the last `succeeded()`. */
export class Backoff {
  #deadline = 0;
  #nextMs = 0;

  constructor(readonly retryForMs: number) {
    this.succeeded();
  }

  /** Start over: the server is there. */
  succeeded(): void {
    this.#deadline = performance.now() + this.retryForMs;
    this.#nextMs = FIRST_MS;
  }

  /** Time left for tries, ms. */
  get remainingMs(): number {
    return this.#deadline - performance.now();
  }

  /** Wait before another try. Throws `error` when the time is over, and CANCELLED when `signal` is aborted. */
  async wait(error: MilepostError, signal?: AbortSignal): Promise<void> {
    const pauseMs = Math.max(error.retryAfterMs ?? 0, this.#nextMs * (0.5 + Math.random() / 2));
    this.#nextMs = Math.min(this.#nextMs * 2, LONGEST_MS);
    if (pauseMs >= this.remainingMs) throw error;
    await pause(pauseMs, signal);
  }
}

/** Wait. Throws CANCELLED (or DEADLINE_EXCEEDED, as the signal says) when `signal` is aborted before. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortedBy(signal));
    const onAbort = () => {
      clearTimeout(timer);
      reject(abortedBy(signal!));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
