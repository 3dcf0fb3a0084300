import type { z } from "zod";
import { systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import {
  CHANNEL,
  EndedNotice,
  HeldResult,
  type InputParams,
  InputResult,
  LEASE_MS,
  MAX_HELD,
  NextResult,
  ProgressNotice,
} from "#protocol/channel.ts";
import { AskNotice, CHANNEL_ASK } from "#protocol/channel-asks.ts";
import { CHANNEL_FILE, FetchNotice } from "#protocol/channel-files.ts";
import { AskShower, type ShowAsk } from "./asks.ts";
import { deliver } from "./deliver.ts";
import { HandIn, type OpenFile } from "./hand-in.ts";
import { type Asked, isSuperseded, Link } from "./link.ts";
import type { Sender } from "./sender.ts";

/** Leases are renewed this often. */
const RENEW_MS = 20_000;
/** Parts under way get this long when the adapter stops. */
const DRAIN_MS = 15_000;
const LET_GO_MS = 250;

export interface AdapterOptions {
  /** Base URL of the gateway. */
  gatewayUrl: string;
  /** Read for each connection. */
  token: () => Promise<string>;
  channel: string;
  /** The same over all restarts; no two processes at once have it. */
  adapter: string;
  sender: Sender;
  /** Chats that are served at once, each in its order; at most `MAX_HELD`. */
  parallel: number;
  logger: Logger;
  /** Files of the channel that messages named as attachments. */
  openFile?: OpenFile;
  /** Absent = the channel shows no questions; others are asked. */
  showAsk?: ShowAsk;
  onEnded?: (notice: EndedNotice) => void;
  onProgress?: (notice: ProgressNotice) => void;
}

/** `closed` rejects with `Conflict` when a newer process of the adapter has taken over. */
export interface Adapter extends Running {
  /** Takes a person's message to its session; resolves once it is on the disk. Throws the gateway's refusal, which is final, or {@link AdapterStopped}. */
  input(params: InputParams): Promise<InputResult>;
  /** Any other request; asked until there is an answer. Throws the gateway's refusal, or {@link AdapterStopped}. */
  ask<T>(method: string, params: unknown, result: z.ZodType<T>): Promise<T>;
  /** Resolves when the gateway has answered the first hello. */
  ready: Promise<void>;
}

/** The adapter stops, or a newer process has taken over: whether the request was taken is not known, ask it of the next one. */
export class AdapterStopped extends ArgusError {
  constructor(cause: unknown) {
    super("Unavailable", "The adapter stops.", {}, { cause });
  }
}

interface Work {
  link: Link;
  /** Deliveries that this process is at. */
  at: Map<string, NextResult>;
  options: AdapterOptions;
  stopping: AbortSignal;
  signal: AbortSignal;
}

/** Sends what the gateway's outbox holds for the channel, until the signal aborts; parts under way are then ended first. */
export function startAdapter(options: AdapterOptions, signal: AbortSignal): Adapter {
  const { logger, parallel } = options;
  const hard = new AbortController();
  const stopping = AbortSignal.any([signal, hard.signal]);
  const at = new Map<string, NextResult>();
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => undefined);
  const link = new Link({
    ...options,
    asks: options.showAsk !== undefined,
    onNotice: (method, params) => news({ ...options, handIn, asks }, method, params),
    holding: () => [...at.keys()],
    onGreeted: ({ epoch, held }) => {
      logger.info({ epoch, held: held.length }, "connected to the gateway");
      ready.resolve();
    },
  });
  const handIn = options.openFile && new HandIn(link, options.openFile, stopping);
  const asks =
    options.showAsk && new AskShower(link, options.showAsk, { logger, signal: stopping });
  const work: Work = { link, at, options, stopping, signal: hard.signal };
  const lanes = Array.from({ length: Math.min(parallel, MAX_HELD) }, () => serve(work));
  void draining(stopping, lanes, hard.signal).then(() => hard.abort());
  const renewal = setInterval(() => renew(work), RENEW_MS);
  const running = link.run(hard.signal).finally(() => {
    clearInterval(renewal);
    hard.abort();
    ready.reject(new ArgusError("Unavailable", "The adapter has stopped."));
  });
  const ask: Adapter["ask"] = (method, params, result) =>
    untilStopped(link, { method, params, result }, stopping);
  return {
    closed: Promise.all([running, ...lanes]).then(() => undefined),
    input: (params) => ask(CHANNEL.input, params, InputResult),
    ask,
    ready: ready.promise,
  };
}

/** Asks until there is an answer; one session's full queue must not hold up the others. */
async function untilStopped<T>(link: Link, asked: Asked<T>, stopping: AbortSignal): Promise<T> {
  try {
    return await link.insist({ ...asked, isFinal: isBusy }, stopping);
  } catch (error) {
    throw stopping.aborted || isSuperseded(error) ? new AdapterStopped(error) : error;
  }
}

const isBusy = (error: unknown) => error instanceof ArgusError && error.code === "Busy";

/** Resolves once the adapter shall stop and its lanes have ended, at the latest after the time for that. */
async function draining(
  stopping: AbortSignal,
  lanes: Promise<void>[],
  hard: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve) => {
    if (stopping.aborted) resolve();
    stopping.addEventListener("abort", () => resolve(), { once: true });
  });
  const late = new AbortController();
  const timer = systemClock.sleep(DRAIN_MS, AbortSignal.any([late.signal, hard]));
  await Promise.race([Promise.all(lanes), timer.catch(() => undefined)]);
  late.abort();
}

/** One delivery after the other. Two of one chat are never given to a process at once, so each chat keeps its order. */
async function serve({ link, at, options, stopping, signal }: Work): Promise<void> {
  const { sender, logger, channel } = options;
  const next = { method: CHANNEL.next, params: {}, result: NextResult };
  while (!stopping.aborted) {
    let claimed: NextResult | undefined;
    try {
      claimed = await link.insist(next, stopping);
      at.set(claimed.delivery.id, claimed);
      const now = () => performance.now();
      await deliver(claimed, { link, sender, leaseMs: LEASE_MS, now, stopping, signal });
    } catch (error) {
      if (stopping.aborted) return;
      const facts = { channel, delivery: claimed?.delivery.id, error: errorMessage(error) };
      logger.warn(facts, "a delivery was let go");
      await systemClock.sleep(LET_GO_MS, stopping).catch(() => undefined);
    } finally {
      if (claimed) at.delete(claimed.delivery.id);
    }
  }
}

function renew({ link, at }: Work): void {
  const deliveryIds = [...at.keys()];
  if (deliveryIds.length === 0) return;
  // A lease that could not be renewed ends; the next step of its delivery is refused.
  void link.ask(CHANNEL.renew, { deliveryIds }, HeldResult).catch(() => undefined);
}

type Hearing = Pick<AdapterOptions, "onEnded" | "onProgress"> & {
  handIn: HandIn | undefined;
  asks: AskShower | undefined;
};

function news(hearing: Hearing, method: string, params: unknown): void {
  const { onEnded, onProgress, handIn, asks } = hearing;
  const hear = <T>(name: string, shape: z.ZodType<T>, take: (notice: T) => unknown) => {
    const { data } = method === name ? shape.safeParse(params) : {};
    if (data) void take(data);
  };
  hear(CHANNEL_ASK.ask, AskNotice, (notice) => asks?.told(notice));
  hear(CHANNEL_FILE.fetch, FetchNotice, (notice) => handIn?.wanted(notice));
  hear(CHANNEL.ended, EndedNotice, (notice) => onEnded?.(notice));
  hear(CHANNEL.progress, ProgressNotice, (notice) => onProgress?.(notice));
}
