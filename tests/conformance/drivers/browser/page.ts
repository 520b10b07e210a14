/** The driver of the TypeScript client in a browser: fetches steps from the relay that serves it, posts outcomes. */

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { connect, type Milepost } from "milepost/web";

import { OutcomeSchema, StepSchema } from "../typescript/build/gen/milepost/conformance/v1/conformance_pb.js";
import { perform, type Platform, Unsupported } from "../typescript/perform.js";

const ZIP = ".zip";
const environment = (await (await fetch("environment")).json()) as { gateway?: string; token?: string };
const clients = new Map<string, Milepost>();

const platform: Platform = {
  connect(target) {
    if (target?.tlsCaPem) throw new Unsupported("which authorities a page trusts is the browser's affair");
    if (target?.server && !target.gateway) throw new Unsupported("a page reaches no server but a gateway");
    const gateway = target?.gateway ?? environment.gateway;
    if (!gateway) throw new Unsupported("there is no gateway");
    const token = target?.token ?? environment.token;
    const key = JSON.stringify([gateway, token]);
    const client = clients.get(key) ?? connect({ gateway, ...(token && { token }) });
    clients.set(key, client);
    return client;
  },
  upload(milepost, { files, displayName }, call) {
    const contents = files.map(({ path, content }) => ({ path, content: new Blob([content as BlobPart]) }));
    const [only] = contents;
    const source = contents.length === 1 && only!.path.endsWith(ZIP) ? only!.content : contents;
    return milepost.upload(source, { displayName, ...call });
  },
};

for (;;) {
  const step = await fetch("step");
  if (step.status !== 200) break;
  const outcome = await perform(fromBinary(StepSchema, new Uint8Array(await step.arrayBuffer())), platform);
  await fetch("outcome", { method: "POST", body: toBinary(OutcomeSchema, outcome) as BodyInit });
}
