/** Pieces of the page that several of its parts write to. */

import { Code, errorFrom, SessionState } from "milepost";

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

/** Tell what went wrong; where it is that nobody knows who asks, ask. */
export function reportTrouble(thrown: unknown): void {
  const error = errorFrom(thrown);
  element("sign-in").hidden = error.code !== Code.Unauthenticated;
  const trouble = element("trouble");
  trouble.hidden = false;
  trouble.textContent = error.code === Code.Unauthenticated ? "Sign in to see your sessions." : `${error}`;
}

/** What was told is over. */
export function forgetTrouble(): void {
  element("trouble").hidden = true;
  element("sign-in").hidden = true;
}
