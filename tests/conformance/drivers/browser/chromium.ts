/** A headless Chromium with one page, and a profile of its own that goes when it goes. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

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

/** Open a page. `ended` is called when the browser ends by itself; `close` ends it and waits until it is gone. */
export async function open(address: string, ended: () => void): Promise<{ close(): Promise<void> }> {
  const profile = await mkdtemp(join(tmpdir(), "conformance-browser-"));
  const browser: ChildProcess = spawn("chromium", [...FLAGS, `--user-data-dir=${profile}`, address], {
    stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"],
  });
  browser.once("exit", ended);
  return {
    async close() {
      browser.removeAllListeners("exit");
      const gone = new Promise((resolve) => browser.once("exit", resolve));
      if (browser.exitCode === null && browser.kill("SIGKILL")) await gone;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
