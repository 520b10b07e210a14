/** Messages decoded and encoded again, and the values of a Golden as conformance.proto defines them. */

import { create, type DescField, fromBinary, fromJsonString, ScalarType, toBinary, toJson } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { CreateSessionRequestSchema, EventSchema, SessionSchema, WatchEventsResponseSchema } from "milepost";

import {
  type Decode,
  type Decoded,
  DecodedSchema,
  type Golden,
  GoldenSchema,
} from "./build/gen/milepost/conformance/v1/conformance_pb.js";

const SCHEMAS = [GoldenSchema, EventSchema, SessionSchema, CreateSessionRequestSchema, WatchEventsResponseSchema];

/** Both ways. */
export function decode({ messageType, form }: Decode): Decoded {
  const schema = SCHEMAS.find(({ typeName }) => typeName === messageType);
  if (schema === undefined) throw new TypeError(`no message ${messageType}`);
  const message = form.case === "json" ? fromJsonString(schema, form.value) : fromBinary(schema, form.value!);
  return create(DecodedSchema, {
    encoded: toBinary(schema, message),
    json: written(toJson(schema, message, { useProtoFieldName: true })),
    values: schema === GoldenSchema ? valuesOf(message as Golden) : {},
  });
}

/** JSON.stringify writes -0 as 0. */
function written(value: unknown): string {
  const mark = "negative zero";
  return JSON.stringify(value, (_, it: unknown) => (Object.is(it, -0) ? mark : it)).replaceAll(`"${mark}"`, "-0.0");
}

function valuesOf(golden: Golden): Record<string, string> {
  const told: Record<string, string> = {};
  const message = reflect(GoldenSchema, golden);
  for (const field of GoldenSchema.fields) {
    if (!message.isSet(field)) continue;
    if (field.oneof?.name === "choice") told["choice"] = field.name;
    if (field.name === "event_choice") continue;
    const value = (golden as never as Record<string, unknown>)[field.localName];
    told[field.name] = text(field, field.oneof?.name === "choice" ? golden.choice.value : value);
  }
  return told;
}

function text(field: DescField, value: unknown): string {
  switch (field.fieldKind) {
    case "list":
      return (value as unknown[]).map((item) => (field.listKind === "scalar" ? scalar(field.scalar, item) : "")).join();
    case "map": {
      const pairs = Object.entries(value as Record<string, unknown>).map(([key, item]) => {
        const told = field.mapKind === "scalar" ? scalar(field.scalar, item) : "";
        return `${scalar(field.mapKey, key)}=${told}`;
      });
      return pairs.sort().join();
    }
    case "message": {
      const { seconds, nanos } = value as { seconds: bigint; nanos: number };
      return `${seconds}.${nanos}`;
    }
    case "enum":
      return String(value);
    case "scalar":
      return scalar(field.scalar, value);
  }
}

function scalar(type: ScalarType, value: unknown): string {
  const view = new DataView(new ArrayBuffer(8));
  switch (type) {
    case ScalarType.DOUBLE:
      view.setFloat64(0, value as number);
      return hex(new Uint8Array(view.buffer));
    case ScalarType.FLOAT:
      view.setFloat32(0, value as number);
      return hex(new Uint8Array(view.buffer, 0, 4));
    case ScalarType.STRING:
      return hex(new TextEncoder().encode(value as string));
    case ScalarType.BYTES:
      return hex(value as Uint8Array);
    default:
      return String(value);
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
