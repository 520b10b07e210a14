/** One session: its state, its figures, its vehicles, live. */

import {
  type Event,
  type Kpis,
  type Milepost,
  MilepostError,
  type Session,
  SessionView as View,
} from "milepost";

import type { NetworkMap } from "./map";
import { element, reportTrouble, simulatedTime, tellState } from "./page";

/** Frames a second that are asked for: between two the vehicles glide. */
const FRAMES_HZ = 8;

/** Shows a session until `signal` is aborted. Failures are told on the page. */
export async function showSession(
  milepost: Milepost,
  map: NetworkMap,
  sessionId: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { session } = await milepost.sessions.getSession({ sessionId, view: View.FULL }, { signal });
    if (signal.aborted) return;
    element("session").hidden = false;
    tell(session!);
    map.show(undefined);
    // The vehicles do not wait for the network, nor the network for them.
    await Promise.all([
      milepost.network(session!, signal).then((network) => signal.aborted || map.show(network)),
      follow(milepost, map, session!, signal),
    ]);
  } catch (thrown) {
    if (!signal.aborted) reportTrouble("session", thrown);
  }
}

async function follow(milepost: Milepost, map: NetworkMap, session: Session, signal: AbortSignal): Promise<void> {
  const { sessionId } = session;
  // The latest figures stand in the session; what came before is not shown.
  const watch = milepost.watch(sessionId, {
    afterSeq: session.seq,
    frames: { maxHz: FRAMES_HZ },
    signal,
    onReconnect: (error: MilepostError) => tellLive(`connecting again (${error.reason})`),
  });
  for await (const item of watch) {
    switch (item.case) {
      case "event":
        await heard(milepost, item.value, signal);
        break;
      case "frame":
        map.frame(item.value);
        element("clock").textContent = simulatedTime(item.value.simTimeS);
        element("map").dataset["frames"] = String(Number(element("map").dataset["frames"] ?? 0) + 1);
        break;
      case "caughtUp":
        tellLive("live");
        break;
      case "fellBehind":
        tellLive("behind");
        break;
      case "heartbeat":
        break;
      case "terminal":
        map.clear();
        tellLive("ended");
    }
  }
}

/** What an event changes on the page. */
async function heard(milepost: Milepost, event: Event, signal: AbortSignal): Promise<void> {
  switch (event.payload.case) {
    case "intervalClosed":
      element("clock").textContent = simulatedTime(event.simTimeS);
      tellKpis(event.payload.value.kpis);
      return;
    case "logLine":
    case "resourceUsed":
      return;
    default: {
      const request = { sessionId: event.sessionId, view: View.FULL, minSeq: event.seq };
      tell((await milepost.sessions.getSession(request, { signal })).session!);
    }
  }
}

function tell(session: Session): void {
  element("name").textContent = session.displayName || session.sessionId;
  tellState(element("state"), session.state);
  element("conditions").textContent = session.conditions.join("; ");
  element("clock").textContent = simulatedTime(session.progress?.simTimeS ?? 0);
  tellKpis(session.results?.kpis ?? session.progress?.kpis);
}

function tellLive(words: string): void {
  element("live").textContent = words;
  element("map").dataset["live"] = words;
}

function tellKpis(kpis: Kpis | undefined): void {
  element("kpis").hidden = kpis === undefined;
  if (kpis === undefined) return;
  const figures: [string, string][] = [
    ["in the network", String(kpis.running)],
    ["departed", String(kpis.departed)],
    ["arrived", String(kpis.arrived)],
    ["standing", String(kpis.halting)],
    ["waiting to enter", String(kpis.waiting)],
    ["mean speed", kpis.meanSpeedMps < 0 ? "–" : `${(kpis.meanSpeedMps * 3.6).toFixed(1)} km/h`],
  ];
  element("kpis").replaceChildren(
    ...figures.map(([label, value]) => {
      const figure = document.createElement("div");
      const [term, told] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = label;
      told.textContent = value;
      figure.append(term, told);
      return figure;
    }),
  );
}
