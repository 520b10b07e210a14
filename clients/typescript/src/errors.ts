/**
 * What the client throws: one class, told apart by `reason`.
 *
 * `reason` is the name of a value of `milepost.errors.v1.ErrorReason` without its prefix where the server sent one (it
 * does with every refusal), `UNREACHABLE` when the connection failed, else the name of the gRPC status.
 */

import { anyIs, anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { Status } from "./gen/google/rpc/status_pb.js";

/** One field of a request, or one file (`path:line`) of a scenario, and what is wrong with it. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** The connection failed; no server of ours said anything. */
export const UNREACHABLE = "UNREACHABLE";

/** What a server said of a failure beside its status. */
export interface ErrorDetails {
  readonly domain?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly Violation[];
  readonly retryAfterMs?: number | undefined;
}

/** A call, a watch or an upload that failed for good. */
export class MilepostError extends Error {
  override readonly name = "MilepostError";
  /** Who gave the reason, `milepost`; empty when the server gave none. */
  readonly domain: string;
  /** The server's `ErrorInfo.metadata`: `from`, `verb`, `legal_verbs`, `head_seq` … as the proto says of each reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields of the request, or files of the scenario, that are wrong. */
  readonly violations: readonly Violation[];
  /** How long the server asked to wait before another try, ms. */
  readonly retryAfterMs: number | undefined;

  constructor(
    /** gRPC's number of the status. */
    readonly code: Code,
    /** Why, for programs. */
    readonly reason: string,
    message: string,
    details: ErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.domain = details.domain ?? "";
    this.metadata = details.metadata ?? {};
    this.violations = details.violations ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Whether the same call can succeed another time. A stale `etag` is aborted, too, and stays stale. */
  get mayPass(): boolean {
    return this.code === Code.Unavailable || (this.code === Code.Aborted && this.reason !== "ETAG_MISMATCH");
  }

  override toString(): string {
    return `${this.name}: ${this.reason}: ${this.message}`;
  }
}

/** Of these without `ErrorInfo` the transport made one. */
const BROKEN_TRANSPORT = new Set([Code.Unavailable, Code.Canceled, Code.Internal, Code.Unknown, Code.Aborted]);

/** The typed form of whatever a call threw; `signal` is the caller's own, so that their cancelling is told as that. */
export function errorFrom(thrown: unknown, signal?: AbortSignal): MilepostError {
  if (thrown instanceof MilepostError) return thrown;
  if (signal?.aborted) return abortedBy(signal);
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const violations = error.findDetails(BadRequestSchema).flatMap((found) => found.fieldViolations);
  const typed = typedFrom(error.code, error.rawMessage, info, violations, error.findDetails(RetryInfoSchema)[0], thrown);
  if (info !== undefined || !BROKEN_TRANSPORT.has(error.code)) return typed;
  return new MilepostError(Code.Unavailable, UNREACHABLE, typed.message, {}, { cause: thrown });
}

/** The typed form of a status within an answer: what became of one item of a batch. */
export function errorFromStatus(status: Status): MilepostError {
  const info = detail(status.details, ErrorInfoSchema);
  const violations = detail(status.details, BadRequestSchema)?.fieldViolations ?? [];
  return typedFrom(status.code, status.message, info, violations, detail(status.details, RetryInfoSchema));
}

/** Why a call whose caller's signal was aborted has ended. */
export function abortedBy(signal: AbortSignal): MilepostError {
  const reason: unknown = signal.reason;
  return reason instanceof DOMException && reason.name === "TimeoutError"
    ? deadlineExceeded(reason)
    : new MilepostError(Code.Canceled, "CANCELLED", "cancelled by the caller", {}, { cause: reason });
}

/** The caller's deadline is over. What was asked for may have happened. */
export function deadlineExceeded(cause?: unknown): MilepostError {
  return new MilepostError(Code.DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline is over", {}, { cause });
}

function typedFrom(
  code: Code,
  message: string,
  info: MessageShape<typeof ErrorInfoSchema> | undefined,
  violations: readonly Violation[],
  retry: MessageShape<typeof RetryInfoSchema> | undefined,
  cause?: unknown,
): MilepostError {
  const delay = retry?.retryDelay;
  const details: ErrorDetails = {
    domain: info?.domain ?? "",
    metadata: info?.metadata ?? {},
    violations: violations.map(({ field, description }) => ({ field, description })),
    retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
  };
  return new MilepostError(code, info?.reason ?? statusName(code), message, details, { cause });
}

/** gRPC's name of a status: `NOT_FOUND`, `CANCELLED`. */
function statusName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase();
}

function detail<T extends DescMessage>(details: readonly Any[], schema: T): MessageShape<T> | undefined {
  const found = details.find((any) => anyIs(any, schema));
  return found && anyUnpack(found, schema);
}
