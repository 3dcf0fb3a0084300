import { stringify } from "yaml";

export interface KubeconfigOptions {
  /** `https://127.0.0.1:6443` */
  server: string;
  caPem: string;
  token: string;
  user: string;
  namespace: string;
}

/** A kubeconfig with one cluster, one user and one context, for `kubectl --kubeconfig`. */
export function kubeconfigYaml({ server, caPem, token, user, namespace }: KubeconfigOptions) {
  const name = `argus-${user}`;
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "argus",
        cluster: {
          server,
          "certificate-authority-data": Buffer.from(caPem).toString("base64"),
        },
      },
    ],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: "argus", user: name, namespace } }],
    "current-context": name,
  });
}
