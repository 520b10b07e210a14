/**
 * Stands between the runner and a page in a headless Chromium: steps from stdin are what the page fetches, outcomes it
 * posts go to stdout. The page is on another origin than the gateway, as those of users are.
 */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";

import { messages, write } from "../typescript/pipe.js";
import { open } from "./chromium.js";

const steps = messages(process.stdin);
const { MILEPOST_GATEWAY: gateway, MILEPOST_TOKEN: token } = process.env;

const server = createServer((request, response) => {
  const answer = (status: number, type: string, content: string | Uint8Array = "") =>
    response.writeHead(status, { "content-type": type }).end(content);
  switch (request.url) {
    case "/":
      return answer(200, "text/html", '<!doctype html><script type="module" src="page.js"></script>');
    case "/page.js":
      return void readFile(join(import.meta.dirname, "page.js")).then((it) => answer(200, "text/javascript", it));
    case "/environment":
      return answer(200, "application/json", JSON.stringify({ gateway, token }));
    case "/step":
      return void steps.next().then(({ value, done }) => {
        answer(done ? 204 : 200, "application/octet-stream", done ? "" : value);
        if (done) void end(0);
      });
    case "/outcome":
      return void buffer(request).then((outcome) => {
        write(outcome);
        answer(204, "text/plain");
      });
    default:
      return answer(404, "text/plain");
  }
});

await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as AddressInfo;
const browser = await open(`http://127.0.0.1:${port}/`, () => {
  console.error("the browser ended");
  void end(1);
});

/** End with the browser: 0 when there are no more steps, 1 when it ended by itself. */
async function end(code: number): Promise<void> {
  await browser.close();
  process.exit(code);
}
