import { randomBytes } from "node:crypto";
import type { ArgusSession } from "#crds/kinds.ts";
import type { Device } from "#protocol/device.ts";
import type { PairRequest } from "#protocol/node.ts";
import { admitDevice, giveToken, revokeDevice, seenDevice } from "../state/devices.ts";
import type { Reduced } from "../state/document.ts";
import type { GatewayState } from "../state/gateway-state.ts";
import { sha256 } from "./door.ts";
import type { Pairings } from "./pairings.ts";

/** The devices that owners took in, on the disk. */
export class Devices {
  readonly #state: GatewayState;
  readonly #pairings: Pairings;
  #byHash = new Map<string, Device>();

  /** `onChange` follows each change that is on the disk. */
  constructor(state: GatewayState, pairings: Pairings, onChange: () => void) {
    this.#state = state;
    this.#pairings = pairings;
    this.#read();
    let last = state.current.devices;
    state.watch(({ devices }) => {
      if (devices === last) return;
      last = devices;
      this.#read();
      onChange();
    });
  }

  #read(): void {
    this.#byHash = new Map(
      this.list.flatMap((each) => (each.tokenHash === null ? [] : [[each.tokenHash, each]])),
    );
  }

  get list(): Device[] {
    return this.#state.current.devices;
  }

  find(id: string): Device | undefined {
    return this.list.find((each) => each.id === id);
  }

  ofToken(hash: string): Device | undefined {
    return this.#byHash.get(hash);
  }

  /** Takes in the device that shows the code, for this session. Undefined: there is no such code. Throws as {@link admitDevice}. */
  async approve({ metadata }: ArgusSession, code: string): Promise<Device | undefined> {
    const pairing = this.#pairings.find(code, Date.now());
    if (!pairing) return undefined;
    const { nodeId: id, displayName = id, platform = "", publicKey } = pairing.request;
    const { name, uid = "" } = metadata;
    const facts = { session: { name, uid }, now: Date.now() };
    const device = await this.#reduce((devices) =>
      admitDevice(devices, { id, name: displayName, platform, publicKey }, facts),
    );
    this.#pairings.forget(pairing.code);
    pairing.peer?.confirmed();
    return device;
  }

  refuse(code: string): boolean {
    const pairing = this.#pairings.find(code, Date.now());
    if (!pairing) return false;
    this.#pairings.forget(pairing.code);
    pairing.peer?.refused("the owner declined");
    return true;
  }

  /** From this session, or (undefined) from all. False: there is no such device. */
  revoke(id: string, session: ArgusSession | undefined): Promise<boolean> {
    const uid = session?.metadata.uid;
    return this.#reduce((devices) => revokeDevice(devices, id, uid));
  }

  /** A new token for a confirmed device that has used none yet; only its hash stays. */
  async giveToken({ nodeId: id, publicKey }: PairRequest): Promise<string | undefined> {
    const token = `argus-node-${randomBytes(32).toString("base64url")}`;
    const device = await this.#reduce((devices) =>
      giveToken(devices, { id, publicKey }, sha256(token)),
    );
    return device && token;
  }

  async seen(id: string, at: number): Promise<void> {
    await this.#reduce((devices) => ({ document: seenDevice(devices, id, at), answer: undefined }));
  }

  #reduce<A>(command: (devices: Device[]) => Reduced<Device[], A>): Promise<A> {
    return this.#state.reduce((before) => {
      const { document: devices, answer } = command(before.devices);
      const document = devices === before.devices ? before : { ...before, devices };
      return { document, answer };
    });
  }
}
