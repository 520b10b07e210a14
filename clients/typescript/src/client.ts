/**
 * The client: the services' own verbs, as generated from the contracts, and beside them what generation cannot give —
 * waiting, watching over broken connections, uploads, downloads, networks.
 */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, createClient, type CallOptions, type Client, type Transport } from "@connectrpc/connect";

import { careful, type Token } from "./calls.js";
import { download, type BlobName } from "./download.js";
import { MilepostError } from "./errors.js";
import { BlobService } from "./gen/milepost/blob/v1/blob_service_pb.js";
import { EventKind } from "./gen/milepost/event/v1/event_pb.js";
import {
  EventService,
  type WatchAllEventsRequestSchema,
  type WatchAllEventsResponse,
} from "./gen/milepost/event/v1/event_service_pb.js";
import { ScenarioService } from "./gen/milepost/scenario/v1/scenario_service_pb.js";
import type { Scenario } from "./gen/milepost/scenario/v1/scenario_pb.js";
import { TemplateService } from "./gen/milepost/scenario/v1/template_service_pb.js";
import { SessionState, type Session } from "./gen/milepost/session/v1/session_pb.js";
import {
  SessionService,
  SessionView,
  type CreateSessionRequestSchema,
  type ListSessionsRequestSchema,
} from "./gen/milepost/session/v1/session_service_pb.js";
import { StudyService } from "./gen/milepost/study/v1/study_service_pb.js";
import { parseNetwork, type Network } from "./network.js";
import { upload, type ScenarioSource, type UploadOptions } from "./upload.js";
import { watch, watchAll, type FollowOptions, type WatchItem, type WatchOptions, type WatchPatience } from "./watch.js";

/** Patience of a client; ms. */
export interface Patience {
  /** How long calls and watches try to get through to a server that is away; 30,000. */
  readonly retryForMs?: number;
  /** After how long without a word a watch's connection is broken: heartbeats come every 5 s; 15,000. */
  readonly silenceMs?: number;
}

/** What a platform brings: how the services are reached, and how a Blob's digest is taken (lower-case hex). */
export interface Platform extends Patience {
  readonly sessionApi: Transport;
  readonly eventStore: Transport;
  readonly token?: Token | undefined;
  readonly sha256: (content: Blob) => Promise<string>;
  readonly close?: () => void;
}

/** The servers' limit on one message, either way, bytes. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const RETRY_FOR_MS = 30_000;
const SILENCE_MS = 15_000;
const END_STATES: readonly SessionState[] = [SessionState.COMPLETED, SessionState.FAILED, SessionState.CANCELLED];
/** Events after which a session may be in another state than before. */
const TURNS = [
  EventKind.ATTEMPT_CLAIMED,
  EventKind.RUN_STARTED,
  EventKind.SESSION_RECOVERED,
  EventKind.RUN_OPENED,
  EventKind.COMMAND_REQUESTED,
  EventKind.COMMAND_APPLIED,
  EventKind.COMMAND_REJECTED,
  EventKind.SESSION_COMPLETED,
  EventKind.SESSION_FAILED,
  EventKind.SESSION_CANCELLED,
];

/** A connected client; connects on first use. Every failure is a MilepostError; the protos name each call's reasons. */
export class Milepost {
  /** Create, command and look up sessions. Calls are made again while that can help, with one `requestId`. */
  readonly sessions: Client<typeof SessionService>;
  /** Look up scenarios; `upload` is below. */
  readonly scenarios: Client<typeof ScenarioService>;
  /** Scenarios with parameters. */
  readonly templates: Client<typeof TemplateService>;
  /** Compare variants on many seeds. */
  readonly studies: Client<typeof StudyService>;
  /** Read logs, ask for KPIs, export; `watch` is below. */
  readonly events: Client<typeof EventService>;
  /** Files by content; `upload` and `download` are below. */
  readonly blobs: Client<typeof BlobService>;
  readonly #platform: Platform & WatchPatience;

  constructor(platform: Platform) {
    const { retryForMs = RETRY_FOR_MS, silenceMs = SILENCE_MS, token } = platform;
    this.#platform = { ...platform, retryForMs, silenceMs, renewsToken: typeof token === "function" };
    const api = careful(platform.sessionApi, retryForMs, token);
    const store = careful(platform.eventStore, retryForMs, token);
    this.sessions = createClient(SessionService, api);
    this.scenarios = createClient(ScenarioService, api);
    this.templates = createClient(TemplateService, api);
    this.studies = createClient(StudyService, api);
    this.events = createClient(EventService, store);
    this.blobs = createClient(BlobService, store);
  }

  /** Follow a session's log: history, then live, until it ends; over any number of connections. See `WatchItem`. */
  watch(sessionId: string, options: WatchOptions = {}): AsyncGenerator<WatchItem, void, undefined> {
    return watch(this.events, sessionId, options, this.#platform);
  }

  /** Follow the logs of all sessions, or of those a request names, in stored order; it never ends by itself. */
  watchAll(
    request: MessageInitShape<typeof WatchAllEventsRequestSchema> = {},
    options: FollowOptions = {},
  ): AsyncGenerator<WatchAllEventsResponse, void, undefined> {
    return watchAll(this.events, request, options, this.#platform);
  }

  /** Create a session, queue it, wait for its end. */
  async run(request: MessageInitShape<typeof CreateSessionRequestSchema>, call: CallOptions = {}): Promise<Session> {
    const { session } = await this.sessions.createSession(request, call);
    return this.wait(session!.sessionId, { call });
  }

  /**
   * Wait until a session is in one of `states`, or has ended; the FULL session then. States it only passes through may
   * be missed. Waits for ever where nothing happens: bound it with `call.signal`, an `AbortSignal.timeout` for example.
   */
  async wait(
    sessionId: string,
    { states = [], call = {} }: { states?: readonly SessionState[]; call?: CallOptions } = {},
  ): Promise<Session> {
    const wanted = new Set([...END_STATES, ...states]);
    const { signal, headers } = call;
    const options = { ...(signal && { signal }), ...(headers && { headers }) };
    let session = await this.#session(sessionId, 0n, options);
    while (!wanted.has(session.state)) {
      for await (const item of this.watch(sessionId, { ...options, afterSeq: session.seq, kinds: TURNS })) {
        if (item.case !== "event" && item.case !== "terminal") continue;
        session = await this.#session(sessionId, item.value.seq, options);
        if (wanted.has(session.state)) break;
      }
    }
    return session;
  }

  /** All sessions that a request names, newest first, read page by page. */
  async *listSessions(
    request: MessageInitShape<typeof ListSessionsRequestSchema> = {},
    call: CallOptions = {},
  ): AsyncGenerator<Session, void, undefined> {
    let pageToken = "";
    do {
      const page = await this.sessions.listSessions({ ...request, pageToken }, call);
      yield* page.sessions;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /** Upload a scenario: files, or one zip archive. Only files that the server does not hold travel. */
  upload(source: ScenarioSource, options: UploadOptions = {}): Promise<Scenario> {
    return upload(this.scenarios, source, options, this.#platform);
  }

  /** The whole content of a blob: an artifact of a session (FULL view), a file of a scenario. */
  download(blob: BlobName, signal?: AbortSignal): Promise<Blob> {
    return download(this.blobs, blob, signal, this.#platform);
  }

  /** The network a session runs on, to be drawn below the vehicles of its frames. */
  async network(session: Session, signal?: AbortSignal): Promise<Network> {
    const { scenarioDigest = "", netFile = "" } = session.scene ?? {};
    const { scenario } = await this.scenarios.getScenario({ digest: scenarioDigest }, signal ? { signal } : {});
    const file = scenario!.files.find(({ path }) => path === netFile);
    if (file === undefined) throw new MilepostError(Code.NotFound, "NETWORK_NOT_FOUND", `no file ${netFile}`);
    return parseNetwork(await this.download(file, signal));
  }

  /** Close the connections; open calls fail. */
  close(): void {
    this.#platform.close?.();
  }

  async #session(sessionId: string, minSeq: bigint, call: CallOptions): Promise<Session> {
    return (await this.sessions.getSession({ sessionId, view: SessionView.FULL, minSeq }, call)).session!;
  }
}
