/** The console's page: sessions on the left, one of them on the right; which one stands in the address (`#id`). */

import { connect, type Session } from "milepost";

import { NetworkMap } from "./map";
import { element, forgetTrouble, reportTrouble, simulatedTime, tellState } from "./page";
import { showSession } from "./session_view";

/** How often the list is read anew, ms. */
const LIST_EVERY_MS = 2_000;
const LISTED = 100;
const TOKEN = "milepost-token";
/** Simulated seconds per second: fast enough to see something happen, slow enough to see it. */
const DEMO_PACE = 5;

const milepost = connect({ token: () => sessionStorage.getItem(TOKEN) ?? "" });
const map = new NetworkMap(element("network"), element("vehicles"));
let shown = new AbortController();

/** Show the session the address names. */
function route(): void {
  const sessionId = decodeURIComponent(location.hash.slice(1));
  shown.abort();
  shown = new AbortController();
  forgetTrouble("session");
  // Until there is something to show of this one.
  element("session").hidden = true;
  element("nothing").hidden = Boolean(sessionId);
  markCurrent();
  if (sessionId) void showSession(milepost, map, sessionId, shown.signal);
}

function markCurrent(): void {
  for (const link of document.querySelectorAll<HTMLAnchorElement>("#sessions a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function list(): Promise<void> {
  try {
    const { sessions } = await milepost.sessions.listSessions({ pageSize: LISTED, hideStudySessions: true });
    element("sessions").replaceChildren(...sessions.map(entry));
    element("no-sessions").hidden = sessions.length > 0;
    markCurrent();
    forgetTrouble("sessions");
  } catch (thrown) {
    reportTrouble("sessions", thrown);
  }
}

function entry(session: Session): HTMLElement {
  const link = document.createElement("a");
  link.href = `#${encodeURIComponent(session.sessionId)}`;
  const [name, state, when] = ["strong", "span", "small"].map((tag) => document.createElement(tag));
  name!.textContent = session.displayName || session.sessionId;
  state!.className = "state";
  tellState(state!, session.state);
  when!.textContent = `${session.sessionId} · ${simulatedTime(session.progress?.simTimeS ?? 0)}`;
  link.append(name!, state!, when!);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

async function runDemo(): Promise<void> {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { session } = await milepost.sessions.createDemoSession({ seed, displayName: `Demo city ${seed}` });
  const { sessionId } = session!;
  await milepost.sessions.setPace({ sessionId, factor: DEMO_PACE });
  location.hash = encodeURIComponent(sessionId);
  await list();
}

element("demo").addEventListener("click", ({ currentTarget }) => {
  const button = currentTarget as HTMLButtonElement;
  button.disabled = true;
  void runDemo().catch((thrown: unknown) => reportTrouble("session", thrown)).finally(() => (button.disabled = false));
});
element("fit").addEventListener("click", () => map.fit());
element<HTMLFormElement>("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, String(new FormData(event.target as HTMLFormElement).get("token")));
  void list();
  route();
});
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => document.hidden || void list());
setInterval(() => document.hidden || void list(), LIST_EVERY_MS);
void list();
route();
