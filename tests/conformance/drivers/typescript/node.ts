/** The driver of the TypeScript client in Node.js: steps on stdin, outcomes on stdout. */

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { connect, type Milepost, uploadPath } from "milepost";

import { OutcomeSchema, StepSchema } from "./build/gen/milepost/conformance/v1/conformance_pb.js";
import { messages, write } from "./pipe.js";
import { perform, type Platform } from "./perform.js";

const clients = new Map<string, Milepost>();

const platform: Platform = {
  connect(target) {
    const { server, eventStore, token, tlsCaPem } = target ?? {};
    const key = JSON.stringify([server, eventStore, token, tlsCaPem && [...tlsCaPem]]);
    let client = clients.get(key);
    if (client === undefined) {
      // Another server's store is beside it, not where the environment has one.
      const store = eventStore ?? (server ? besides(server) : undefined);
      client = connect({
        ...(server && { server }),
        ...(store && { eventStore: store }),
        ...(token !== undefined && { token }),
        ...(tlsCaPem && { tls: { ca: Buffer.from(tlsCaPem) } }),
      });
      clients.set(key, client);
    }
    return client;
  },
  upload: (milepost, { path, displayName }, call) => uploadPath(milepost, path, { displayName, ...call }),
};

function besides(server: string): string {
  const [, host, port] = /^(.+):(\d+)$/.exec(server)!;
  return `${host}:${Number(port) + 1}`;
}

for await (const message of messages(process.stdin)) {
  write(toBinary(OutcomeSchema, await perform(fromBinary(StepSchema, message), platform)));
}
clients.forEach((client) => client.close());
