// `node --import` of this: the process's clock of day differs by CLOCK_SHIFT_MS; how time passes does not.
const shiftMs = Number(process.env.CLOCK_SHIFT_MS ?? 0);
const now = Date.now;
globalThis.Date = class extends Date {
  constructor(...given: []) {
    if (given.length === 0) super(now() + shiftMs);
    else super(...given);
  }

  static override now(): number {
    return now() + shiftMs;
  }
} as DateConstructor;
