/**
 * Stands between the runner and a page in a headless Chromium: steps from stdin are what the page fetches, outcomes it
 * posts go to stdout. The page is on another origin than the gateway, as those of users are.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { messages, write } from "../typescript/pipe.js";

const HERE = import.meta.dirname;
/** Nothing of its own goes over the network; it ends when its pipe is closed, and so with this process. */
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-pipe",
];

const steps = messages(process.stdin);
const { MILEPOST_GATEWAY: gateway, MILEPOST_TOKEN: token } = process.env;

const server = createServer((request, response) => {
  const answer = (status: number, type: string, content: string | Uint8Array = "") =>
    response.writeHead(status, { "content-type": type }).end(content);
  switch (request.url) {
    case "/":
      return answer(200, "text/html", '<!doctype html><script type="module" src="page.js"></script>');
    case "/page.js":
      return void readFile(join(HERE, "page.js")).then((content) => answer(200, "text/javascript", content));
    case "/environment":
      return answer(200, "application/json", JSON.stringify({ gateway, token }));
    case "/step":
      return void steps.next().then(({ value, done }) => {
        answer(done ? 204 : 200, "application/octet-stream", done ? "" : value);
        if (done) void end(0);
      });
    case "/outcome":
      return void body(request).then((outcome) => {
        write(outcome);
        answer(204, "text/plain");
      });
    default:
      return answer(404, "text/plain");
  }
});

async function body(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

let browser: ChildProcess | undefined;
const profile = await mkdtemp(join(tmpdir(), "conformance-browser-"));

/** End with the browser: 0 when there are no more steps, 1 when it ends by itself. */
async function end(code: number): Promise<void> {
  browser!.removeAllListeners("exit");
  const gone = new Promise((resolve) => browser!.once("exit", resolve));
  if (browser!.exitCode === null && browser!.kill("SIGKILL")) await gone;
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  process.exit(code);
}

server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  const page = `http://127.0.0.1:${port}/`;
  browser = spawn("chromium", [...FLAGS, `--user-data-dir=${profile}`, page], {
    stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"],
  });
  browser.once("exit", (code) => {
    console.error(`the browser ended: ${code}`);
    void end(1);
  });
});
