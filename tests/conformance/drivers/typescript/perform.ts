/** Executes steps with the client, wherever it runs; judges nothing (conformance.proto says what a driver is). */

import { create } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { errorFrom, EventSchema, type Milepost, type MilepostError, type WatchStudyResponse } from "milepost";

import {
  ErrorSchema,
  type Options,
  OutcomeSchema,
  type Error as TypedError,
  type Outcome,
  type Step,
  type Target,
  UnsupportedSchema,
  type UploadScenario,
  type Watch,
  type Watched,
  WatchedAllSchema,
  WatchedSchema,
} from "./build/gen/milepost/conformance/v1/conformance_pb.js";
import { decode } from "./golden.js";

/** What only the platform knows. */
export interface Platform {
  /** The client for a target; unset: as the environment says. Throws Unsupported. */
  connect(target: Target | undefined): Milepost;
  upload(milepost: Milepost, wish: UploadScenario, call: Call): Promise<Scenario>;
}

export type Scenario = Awaited<ReturnType<Milepost["upload"]>>;

/** What goes with every call. */
export interface Call {
  readonly signal?: AbortSignal;
  readonly headers?: HeadersInit;
}

/** This platform cannot do it. */
export class Unsupported extends Error {}

/** The outcome of a step. */
export async function perform(step: Step, platform: Platform): Promise<Outcome> {
  const outcome = create(OutcomeSchema, { stepId: step.stepId });
  try {
    outcome.result = await result(step, platform);
  } catch (thrown) {
    outcome.result =
      thrown instanceof Unsupported
        ? { case: "unsupported", value: create(UnsupportedSchema, { reason: thrown.message }) }
        : { case: "error", value: typed(errorFrom(thrown)) };
  }
  return create(OutcomeSchema, outcome);
}

async function result(step: Step, platform: Platform): Promise<Outcome["result"]> {
  const { action, options } = step;
  if (action.case === "decode") return { case: "decode", value: decode(action.value) };
  const milepost = platform.connect(options?.target);
  const deadlineMs = options?.deadline && milliseconds(options.deadline);
  const call = callOf(options);
  // The client's own verbs have no deadline of their own: their signal has.
  const bounded = deadlineMs === undefined ? call : { ...call, signal: either(call.signal, deadlineMs) };
  switch (action.case) {
    case "createAndWait":
      return { case: "createAndWait", value: await milepost.run(action.value, bounded) };
    case "uploadScenario":
      return { case: "uploadScenario", value: await platform.upload(milepost, action.value, bounded) };
    case "watch":
      return { case: "watch", value: await watched(milepost, action.value, bounded) };
    case "watchAll": {
      let events = 0n;
      for await (const message of milepost.watchAll(action.value.request, bounded)) {
        events += BigInt(message.events.length);
        if (message.caughtUp) return { case: "watchAll", value: create(WatchedAllSchema, { events, ...(message.position && { position: message.position }) }) };
      }
      throw new Unsupported("a watch of all logs does not end");
    }
    case "watchStudy": {
      let last: WatchStudyResponse | undefined;
      for await (const message of milepost.studies.watchStudy(action.value, bounded)) last = message;
      return { case: "watchStudy", value: last! };
    }
    case undefined:
      throw new Unsupported("an action of a later version");
    default: {
      const { sessions, studies, scenarios, templates, events } = milepost;
      const service = [sessions, studies, scenarios, templates, events].find((it) => action.case in it);
      if (service === undefined) throw new Unsupported(`no call ${action.case}`);
      const verb = (service as never as Record<string, Verb>)[action.case]!;
      const value = await verb(action.value, { ...call, ...(deadlineMs !== undefined && { timeoutMs: deadlineMs }) });
      return { case: action.case, value } as Outcome["result"];
    }
  }
}

type Verb = (request: unknown, options: Call & { timeoutMs?: number }) => Promise<unknown>;

async function watched(milepost: Milepost, wish: Watch, call: Call): Promise<Watched> {
  const { sessionId, afterSeq, kinds, phases, frames, slowPolicy } = wish.request!;
  const seen = create(WatchedSchema);
  const onReconnect = () => void seen.reconnects++;
  const options = { afterSeq, kinds, phases, slowPolicy, onReconnect, ...(frames && { frames }), ...call };
  try {
    for await (const item of milepost.watch(sessionId, options)) {
      switch (item.case) {
        case "event": {
          const { seq, payload } = item.value;
          seen.seqs.push(seq);
          seen.kinds.push(kindOf(payload.case));
          if (wish.reportEvents) seen.events.push(item.value);
          await sleep(wish.pausePerEvent);
          if (BigInt(seen.seqs.length) === wish.pauseAfterEvents) await sleep(wish.pause);
          if (BigInt(seen.seqs.length) === wish.stopAfterEvents) return seen;
          break;
        }
        case "caughtUp":
          seen.caughtUp++;
          if (wish.stopWhenCaughtUp) return seen;
          break;
        case "fellBehind":
          seen.fellBehind++;
          break;
        case "heartbeat":
          seen.heartbeats++;
          break;
        case "frame":
          seen.frames++;
          break;
        case "terminal":
          seen.terminal = item.value;
      }
    }
  } catch (thrown) {
    seen.error = typed(errorFrom(thrown));
  }
  return seen;
}

/** `EventKind` of a payload: the number of its field. */
function kindOf(payload: string | undefined): number {
  return EventSchema.fields.find((field) => field.localName === payload)?.number ?? 0;
}

function callOf(options: Options | undefined): Call {
  const cancelMs = options?.cancelAfter && milliseconds(options.cancelAfter);
  const headers = options?.metadata ?? {};
  if (cancelMs === undefined) return { headers };
  const cancelling = new AbortController();
  setTimeout(() => cancelling.abort(), cancelMs);
  return { headers, signal: cancelling.signal };
}

function either(signal: AbortSignal | undefined, deadlineMs: number): AbortSignal {
  const deadline = AbortSignal.timeout(Math.ceil(deadlineMs));
  return signal ? AbortSignal.any([signal, deadline]) : deadline;
}

function typed(error: MilepostError): TypedError {
  const { code, reason, domain, metadata, message, violations, retryAfterMs } = error;
  const delay = retryAfterMs !== undefined && {
    retryDelay: { seconds: BigInt(Math.floor(retryAfterMs / 1000)), nanos: Math.round((retryAfterMs % 1000) * 1e6) },
  };
  return create(ErrorSchema, {
    code,
    reason,
    domain,
    metadata: { ...metadata },
    message,
    fieldViolations: [...violations],
    ...delay,
  });
}

function milliseconds({ seconds, nanos }: Duration): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}

async function sleep(duration: Duration | undefined): Promise<void> {
  const ms = duration ? milliseconds(duration) : 0;
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
}
