import { Agent, request } from "undici";
import { customResourceDefinitions } from "#crds/kinds.ts";
import { kubectl, type Outcome } from "#test/support/kubectl.ts";

export interface Peer {
  server: string;
  caPem: string;
  /** Of a user who may do everything. */
  token: string;
  /** Path of a kubeconfig for the same user. */
  kubeconfig: string;
}

/** Foreign JSON, looked into freely; a leaf is whatever an expectation compares it with. */
export interface Json {
  [key: string]: Json;
}

/** A list inside foreign JSON; empty when there is none. */
export const listOf = <T = Json>(value: Json | undefined): T[] =>
  Array.isArray(value) ? (value as T[]) : [];

/** A leaf of foreign JSON as text; "" for anything that is no leaf. */
export const textOf = (value: unknown): string =>
  ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Json;
  text: string;
}

export interface Options {
  body?: unknown;
  contentType?: string;
  accept?: string;
  token?: string | null;
}

export interface WatchEvent {
  type: string;
  object: Json;
}

export const SESSIONS = "/apis/argus.dev/v1alpha1";
export const WIDGETS = "/apis/contract.argus.dev/v1";

/** A definition with every rule that the cases need. */
export const WIDGET_DEFINITION = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.contract.argus.dev" },
  spec: {
    group: "contract.argus.dev",
    scope: "Namespaced",
    names: { kind: "Widget", plural: "widgets", singular: "widget", shortNames: ["wg"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: [
          { name: "Size", type: "integer", jsonPath: ".spec.size" },
          {
            name: "Ready",
            type: "string",
            jsonPath: '.status.conditions[?(@.type=="Ready")].status',
          },
          { name: "Wide", type: "string", jsonPath: ".spec.color", priority: 1 },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                required: ["color"],
                properties: {
                  color: { type: "string", enum: ["red", "blue"] },
                  size: { type: "integer", minimum: 1, maximum: 9, default: 3 },
                  name: { type: "string", maxLength: 5, pattern: "^[a-z]*$" },
                  when: { type: "string", format: "date-time" },
                  port: { "x-kubernetes-int-or-string": true },
                  open: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                  tags: {
                    type: "array",
                    maxItems: 3,
                    items: { type: "string" },
                    "x-kubernetes-list-type": "set",
                  },
                  words: { type: "array", items: { type: "string" } },
                  labels: { type: "object", additionalProperties: { type: "string" } },
                  once: {
                    type: "string",
                    maxLength: 9,
                    "x-kubernetes-validations": [
                      { rule: "self == oldSelf", message: "once is fixed" },
                    ],
                  },
                  low: { type: "integer" },
                  high: { type: "integer" },
                  nested: {
                    type: "object",
                    default: {},
                    properties: { on1: { type: "boolean", default: true } },
                  },
                  items: {
                    type: "array",
                    maxItems: 9,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    items: {
                      type: "object",
                      required: ["name"],
                      properties: {
                        name: { type: "string" },
                        value: { type: "string" },
                        note: { type: "string" },
                      },
                    },
                  },
                },
                "x-kubernetes-validations": [
                  {
                    rule: "!has(self.low) || !has(self.high) || self.low <= self.high",
                    message: "low above high",
                  },
                ],
              },
              status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
            },
          },
        },
      },
    ],
  },
};

export class Tools {
  readonly peer: Peer;
  readonly #agent: Agent;
  #count = 0;

  constructor(peer: Peer) {
    this.peer = peer;
    this.#agent = new Agent({ connect: { ca: peer.caPem } });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** Installs the definitions of Argus and of the cases, and waits until they are served. */
  async installDefinitions(): Promise<void> {
    for (const definition of [...customResourceDefinitions(), WIDGET_DEFINITION]) {
      const { name } = definition.metadata as { name: string };
      await this.apply(
        `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`,
        definition,
      );
    }
    for (const path of [
      `${SESSIONS}/argussessions`,
      `${SESSIONS}/arguscrons`,
      `${WIDGETS}/widgets`,
    ]) {
      await this.until(async () => (await this.get(path)).status === 200);
    }
  }

  async send(method: string, path: string, options: Options = {}): Promise<Answer> {
    const { body, contentType = "application/json", accept = "application/json", token } = options;
    const bearer = token === undefined ? this.peer.token : token;
    const response = await request(`${this.peer.server}${path}`, {
      method: method as "GET",
      dispatcher: this.#agent,
      headers: {
        accept,
        ...(bearer && { authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { "content-type": contentType }),
      },
      ...(body !== undefined && {
        body: typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      }),
    });
    const text = await response.body.text();
    // By its look: the real server calls the list of its OpenAPI documents plain text.
    const isJson = text.startsWith("{") && !path.includes("watch=");
    const parsed = (isJson ? JSON.parse(text) : text) as Json;
    return { status: response.statusCode, headers: response.headers, body: parsed, text };
  }

  get(path: string, options?: Options): Promise<Answer> {
    return this.send("GET", path, options);
  }

  post(path: string, body: unknown, options?: Options): Promise<Answer> {
    return this.send("POST", path, { body, ...options });
  }

  put(path: string, body: unknown): Promise<Answer> {
    return this.send("PUT", path, { body });
  }

  delete(path: string, body?: unknown): Promise<Answer> {
    return this.send("DELETE", path, { body });
  }

  patch(path: string, kind: "merge" | "json" | "strategic", body: unknown): Promise<Answer> {
    const words = { merge: "merge-patch", json: "json-patch", strategic: "strategic-merge-patch" };
    return this.send("PATCH", path, { body, contentType: `application/${words[kind]}+json` });
  }

  apply(path: string, body: unknown, manager = "tester", query = ""): Promise<Answer> {
    const full = `${path}?fieldManager=${manager}${query}`;
    return this.send("PATCH", full, { body, contentType: "application/apply-patch+yaml" });
  }

  /** A fresh namespace with its default service account; answers its name. */
  async namespace(): Promise<string> {
    this.#count += 1;
    const name = `contract-${this.#count}-${Math.random().toString(36).slice(2, 7)}`;
    await this.post("/api/v1/namespaces", { metadata: { name } });
    await this.until(
      async () =>
        (await this.get(`/api/v1/namespaces/${name}/serviceaccounts/default`)).status === 200,
    );
    return name;
  }

  /** The collection of widgets in a fresh namespace. */
  async widgets(): Promise<string> {
    return `${WIDGETS}/namespaces/${await this.namespace()}/widgets`;
  }

  /** Asks again until it holds; the case's own timeout is the bound. */
  async until(holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Events of a watch until `enough` says so, or the server ends it. */
  async watch(
    path: string,
    enough: (events: WatchEvent[]) => boolean,
    act?: () => Promise<unknown>,
  ) {
    const events: WatchEvent[] = [];
    const response = await request(`${this.peer.server}${path}`, {
      dispatcher: this.#agent,
      headers: { accept: "application/json", authorization: `Bearer ${this.peer.token}` },
    });
    const acted = act?.();
    let rest = Buffer.alloc(0);
    for await (const chunk of response.body) {
      rest = Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        events.push(JSON.parse(rest.toString("utf8", 0, end)));
        rest = rest.subarray(end + 1);
      }
      // Leaving the loop closes the connection.
      if (enough(events)) break;
    }
    await acted;
    return { status: response.statusCode, events };
  }

  kubectl(args: string[], input?: string): Promise<Outcome> {
    return kubectl(this.peer.kubeconfig, args, input === undefined ? {} : { input });
  }
}

export const widget = (name: string, spec: object = {}, metadata: object = {}) => ({
  apiVersion: "contract.argus.dev/v1",
  kind: "Widget",
  metadata: { name, ...metadata },
  spec: { color: "red", ...spec },
});

export const pod = (name: string, spec: object = {}, metadata: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, ...metadata },
  spec: { containers: [{ name: "main", image: "example.test/main:1" }], ...spec },
});

export const configMap = (
  name: string,
  data: Record<string, string> = {},
  metadata: object = {},
) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...metadata },
  data,
});
