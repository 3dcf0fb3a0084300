import { z } from "zod";

const McpServer = z.object({
  name: z
    .string()
    .min(1)
    .max(63)
    .regex(/^[A-Za-z0-9_-]+$/)
    .meta({
      description: "What the agent's tools of it are called by: mcp__<name>/<tool>",
      "x-kubernetes-validations": [
        { rule: "self != 'argus'", message: "argus is Argus's own server: choose another name" },
      ],
    }),
  url: z
    .string()
    .max(1024)
    .regex(/^https?:\/\//)
    .meta({ description: "Its Streamable HTTP address, as the gateway reaches it" }),
  headersFrom: z
    .object({
      secretKeyRef: z.object({
        name: z.string().min(1).max(253),
        key: z.string().min(1).max(253),
      }),
    })
    .optional()
    .meta({
      description:
        "A key of a Secret that holds headers, `Name: value` in each line; only the gateway reads it, and adds them to each request",
    }),
});
export type McpServerEntry = z.infer<typeof McpServer>;

/** `spec.mcpServers` of a session. */
export const mcpServerList = () =>
  z
    .array(McpServer)
    .max(16)
    .optional()
    .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] });
