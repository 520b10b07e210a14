/** Pieces of the page that several of its parts write to. */

import { Code, errorFrom, type MilepostError, SessionState } from "milepost";

/** An element of index.html. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Write a session's state into its badge. */
export function tellState(badge: HTMLElement, state: SessionState): void {
  const name = SessionState[state] ?? String(state);
  badge.dataset["state"] = name;
  badge.textContent = name.toLowerCase();
}

/** Simulated seconds as a time of day. */
export function simulatedTime(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [whole / 3600, (whole / 60) % 60, whole % 60];
  return parts.map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
}

/** What went wrong, by what it is about: each goes when its own part works again. */
const troubles = new Map<"sessions" | "session", MilepostError>();

/** Tell what went wrong; where it is that nobody knows who asks, ask. */
export function reportTrouble(about: "sessions" | "session", thrown: unknown): void {
  troubles.set(about, errorFrom(thrown));
  tellTroubles();
}

/** What was told is over. */
export function forgetTrouble(about: "sessions" | "session"): void {
  if (troubles.delete(about)) tellTroubles();
}

function tellTroubles(): void {
  const stranger = [...troubles.values()].some(({ code }) => code === Code.Unauthenticated);
  const told = [...troubles.values()].map(({ reason, message }) => `${message} (${reason})`);
  element("sign-in").hidden = !stranger;
  element("trouble").hidden = told.length === 0;
  element("trouble").textContent = stranger ? "Sign in to see your sessions." : told.join("; ");
}
