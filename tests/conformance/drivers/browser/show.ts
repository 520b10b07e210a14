/**
 * Runs the README's example in a browser: serves example.js (of the folder it is run in) and passes calls on to the gateway
 * at MILEPOST_GATEWAY, as servers of pages do. Prints the page's text once its script has run to its end.
 */

import { readFile } from "node:fs/promises";
import { createServer, request as call } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

import { open } from "./chromium.js";

const PAGE = `<!doctype html><body></body><script type="module">
  const ended = (status, said) => fetch("/ended", { method: "POST", headers: { status }, body: said });
  import("/example.js").then(() => ended("0", document.body.innerText), (error) => ended("1", String(error)));
</script>`;

const server = createServer((request, response) => {
  if (request.url?.startsWith("/milepost.")) {
    const headers = { ...request.headers, host: new URL(process.env["MILEPOST_GATEWAY"]!).host, origin: undefined };
    const passed = call(process.env["MILEPOST_GATEWAY"]! + request.url, { method: "POST", headers: clean(headers) });
    passed.on("response", (answer) => answer.pipe(response.writeHead(answer.statusCode!, answer.headers)));
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    request.pipe(passed);
    return;
  }
  switch (request.url) {
    case "/":
      return void response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    case "/example.js":
      return void readFile("example.js").then((it) =>
        response.writeHead(200, { "content-type": "text/javascript" }).end(it),
      );
    case "/ended":
      return void text(request).then((said) => {
        console.log(said);
        void end(Number(request.headers["status"]));
      });
    default:
      return void response.writeHead(404).end();
  }
});

function clean(headers: Record<string, unknown>): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as Record<string, string | string[]>;
}

await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as AddressInfo;
const browser = await open(`http://127.0.0.1:${port}/`, () => process.exit(1));

async function end(code: number): Promise<void> {
  await browser.close();
  process.exit(code);
}
