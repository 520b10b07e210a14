/** What both platforms export: the client, its errors, and the contracts' messages that its users meet. */

export { Code } from "@connectrpc/connect";
export { create, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";

export { Milepost, MAX_MESSAGE_BYTES, type Patience, type Platform } from "./client.js";
export type { Token } from "./calls.js";
export type { BlobName } from "./download.js";
export { errorFrom, errorFromStatus, MilepostError, UNREACHABLE, type Violation } from "./errors.js";
export { parseNetwork, type Lane, type Network } from "./network.js";
export type { ScenarioSource, SourceFile, UploadOptions } from "./upload.js";
export type { FollowOptions, WatchItem, WatchOptions } from "./watch.js";

export * from "./gen/milepost/checkpoint/v1/checkpoint_pb.js";
export * from "./gen/milepost/event/v1/event_pb.js";
export * from "./gen/milepost/event/v1/event_service_pb.js";
export * from "./gen/milepost/event/v1/frame_pb.js";
export * from "./gen/milepost/event/v1/metrics_pb.js";
export * from "./gen/milepost/intervention/v1/intervention_pb.js";
export * from "./gen/milepost/kpi/v1/kpi_pb.js";
export * from "./gen/milepost/scenario/v1/scenario_pb.js";
export * from "./gen/milepost/scenario/v1/scenario_service_pb.js";
export * from "./gen/milepost/scenario/v1/template_pb.js";
export * from "./gen/milepost/scenario/v1/template_service_pb.js";
export * from "./gen/milepost/session/v1/session_pb.js";
export * from "./gen/milepost/session/v1/session_service_pb.js";
export * from "./gen/milepost/state/v1/state_pb.js";
export * from "./gen/milepost/study/v1/study_pb.js";
export * from "./gen/milepost/study/v1/study_event_pb.js";
export * from "./gen/milepost/study/v1/study_service_pb.js";
