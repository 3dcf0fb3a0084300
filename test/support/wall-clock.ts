import { onTestFinished } from "vitest";

const realNow = Date.now;

/** Sets this process's wall clock `ms` ahead of the real one, or behind it, as an administrator or NTP would; timers go on. */
export function setWallClock(ms: number): void {
  Date.now = () => realNow() + ms;
  onTestFinished(() => {
    Date.now = realNow;
  });
}
