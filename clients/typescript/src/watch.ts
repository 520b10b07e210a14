/**
 * Following a session's log. A watch is one iteration over any number of connections: after a break it asks again from
 * the last event it gave out, so its reader sees every event once and in order, however often the server went away.
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, type Client } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { abortedBy, errorFrom, MilepostError, UNREACHABLE } from "./errors.js";
import type { Event, EventKind } from "./gen/milepost/event/v1/event_pb.js";
import {
  WatchAllEventsRequestSchema,
  type CaughtUp,
  type EventService,
  type FellBehind,
  type Heartbeat,
  type PhaseSelectorSchema,
  type SlowWatcherPolicy,
  type Terminal,
  type WatchAllEventsResponse,
  type WatchEventsResponse,
} from "./gen/milepost/event/v1/event_service_pb.js";
import type { Frame, FrameOptionsSchema } from "./gen/milepost/event/v1/frame_pb.js";

/**
 * What a watch gives out: each event of the log once and in order, and between them the marks of the stream and, when
 * frames were asked for, vehicle positions. `caughtUp` may come again after a broken connection. The last item is
 * `terminal`: the session has ended, and its whole log was given out.
 */
export type WatchItem =
  | { readonly case: "event"; readonly value: Event }
  | { readonly case: "caughtUp"; readonly value: CaughtUp }
  | { readonly case: "fellBehind"; readonly value: FellBehind }
  | { readonly case: "heartbeat"; readonly value: Heartbeat }
  | { readonly case: "frame"; readonly value: Frame }
  | { readonly case: "terminal"; readonly value: Terminal };

/** How to follow; everything has a default. */
export interface FollowOptions {
  /** Ends the watch: with CANCELLED, or DEADLINE_EXCEEDED for an `AbortSignal.timeout`. */
  readonly signal?: AbortSignal;
  /** Headers of its calls. */
  readonly headers?: HeadersInit;
  /** Is told each time the connection broke and another is tried. */
  readonly onReconnect?: (error: MilepostError) => void;
}

/** What to watch; everything has a default: the whole log, events alone. */
export interface WatchOptions extends FollowOptions {
  /** Begin after this event; 0: at the beginning. */
  readonly afterSeq?: bigint;
  /** Only these kinds; empty: all. */
  readonly kinds?: readonly EventKind[];
  /** Only these phases of the plan; empty: all. */
  readonly phases?: readonly MessageInitShape<typeof PhaseSelectorSchema>[];
  /** Vehicle positions, too. */
  readonly frames?: MessageInitShape<typeof FrameOptionsSchema>;
  /** What the server does when this watcher is too slow; unset: nothing is lost. */
  readonly slowPolicy?: SlowWatcherPolicy;
}

/** After how long without a word the connection is broken, and for how long another one is tried; ms. */
export interface WatchPatience {
  readonly silenceMs: number;
  readonly retryForMs: number;
  /** Tokens are asked for anew: a watch whose token has expired goes on with the next one. */
  readonly renewsToken: boolean;
}

/**
 * Follow a log until it ends. Throws the MilepostError of a refusal, of a server that stayed away for longer than
 * `retryForMs`, or (`LOG_GAP`, never expected) of a server that left an event out.
 */
export async function* watch(
  events: Client<typeof EventService>,
  sessionId: string,
  options: WatchOptions,
  patience: WatchPatience,
): AsyncGenerator<WatchItem, void, undefined> {
  const { afterSeq = 0n, kinds = [], phases = [], frames, slowPolicy, headers } = options;
  const cursor = new WatchCursor(sessionId, afterSeq, kinds.length > 0 || phases.length > 0);
  const open = (signal: AbortSignal) => {
    const request = {
      sessionId,
      afterSeq: cursor.seq,
      kinds: [...kinds],
      phases: [...phases],
      ...(frames && { frames }),
      ...(slowPolicy && { slowPolicy }),
    };
    return events.watchEvents(request, { signal, ...(headers && { headers }) });
  };
  for await (const message of following(open, options, patience)) {
    for (const item of cursor.items(message)) {
      yield item;
      if (item.case === "terminal") return;
    }
  }
}

/**
 * Follow the logs of all sessions, or of those a request names, in stored order; never ends by itself. After a break it
 * goes on after the last message it gave out. Throws as `watch` does.
 */
export async function* watchAll(
  events: Client<typeof EventService>,
  request: MessageInitShape<typeof WatchAllEventsRequestSchema>,
  options: FollowOptions,
  patience: WatchPatience,
): AsyncGenerator<WatchAllEventsResponse, void, undefined> {
  const { headers } = options;
  const wish = create(WatchAllEventsRequestSchema, request);
  const open = (signal: AbortSignal) => events.watchAllEvents(wish, { signal, ...(headers && { headers }) });
  for await (const message of following(open, options, patience)) {
    yield message;
    if (message.position) wish.afterPosition = message.position;
  }
}

/** The messages of a stream and of those that are opened after it broke; never ends by itself. */
async function* following<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  { signal, onReconnect }: FollowOptions,
  { silenceMs, retryForMs, renewsToken }: WatchPatience,
): AsyncGenerator<T, void, undefined> {
  const backoff = new Backoff(retryForMs);
  for (;;) {
    if (signal?.aborted) throw abortedBy(signal);
    const connection = new AbortController();
    const onAbort = () => connection.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    let error: MilepostError;
    let taken = false;
    try {
      for await (const message of heard(open(connection.signal), silenceMs)) {
        taken = true;
        yield message;
        // From now on, not from when it came: a slow reader is no silent server.
        backoff.succeeded();
      }
      error = new MilepostError(Code.Unavailable, UNREACHABLE, "the stream ended before its last message");
    } catch (thrown) {
      error = errorFrom(thrown, signal);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      connection.abort();
    }
    // A token that was taken and has expired since: the next one will do.
    const expired = renewsToken && taken && error.code === Code.Unauthenticated;
    if (error.code !== Code.Unavailable && !expired) throw error;
    await backoff.wait(error, signal);
    onReconnect?.(error);
  }
}

/** The messages of a call. Throws UNREACHABLE when none comes for `silenceMs` while one is waited for. */
async function* heard<T>(call: AsyncIterable<T>, silenceMs: number): AsyncGenerator<T> {
  const messages = call[Symbol.asyncIterator]();
  for (;;) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<never>((_, reject) => {
      const told = `nothing was heard for ${silenceMs / 1000} s`;
      timer = setTimeout(() => reject(new MilepostError(Code.Unavailable, UNREACHABLE, told)), silenceMs);
    });
    const next = messages.next();
    // When silence wins nobody waits for it any more; it fails as soon as the call is aborted.
    next.catch(() => undefined);
    try {
      const result = await Promise.race([next, silence]);
      if (result.done) return;
      yield result.value;
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * Where a watcher stands in a log, over any number of connections: at the last event given out or, when only some are
 * watched, at the last one the server says it has passed.
 */
class WatchCursor {
  constructor(
    readonly sessionId: string,
    public seq: bigint,
    /** Only some events are watched: a hole in the numbers is none in the log. */
    readonly filtered: boolean,
  ) {}

  /** What a message gives its reader, without what was given before. The cursor moves as the items are taken. */
  *items({ message }: WatchEventsResponse): Generator<WatchItem> {
    switch (message.case) {
      case "events":
        for (const event of message.value.events) {
          if (event.seq <= this.seq) continue;
          this.#reach(event.seq, event.seq - 1n);
          yield { case: "event", value: event };
        }
        return;
      case "caughtUp":
      case "terminal":
        this.#reach(message.value.seq, message.value.seq);
        yield message;
        return;
      case "heartbeat":
        this.#reach(message.value.sentSeq, message.value.sentSeq);
        yield message;
        return;
      case "fellBehind":
      case "frame":
        yield message;
        return;
      case "hello":
      case undefined:
        // Hello repeats what was asked; a message of a later version is no business of this one.
        return;
    }
  }

  /** The log up to `seq` is behind this watcher, who must have been given it up to `seen`. */
  #reach(seq: bigint, seen: bigint): void {
    if (!this.filtered && seen > this.seq) {
      const told = `log of ${this.sessionId}: expected seq ${this.seq + 1n}, got ${seq}`;
      throw new MilepostError(Code.DataLoss, "LOG_GAP", told);
    }
    if (seq > this.seq) this.seq = seq;
  }
}
