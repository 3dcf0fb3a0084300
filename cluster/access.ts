/** TLS options as `tls.connect` takes them. */
export type TlsOptions = Record<string, unknown>;

export interface Credentials {
  /** Lower-case names. */
  headers: Record<string, string>;
  tls: TlsOptions;
}

/** How one context of a kubeconfig reaches its API server. */
export interface ClusterAccess {
  /** URL without a slash at the end. */
  server: string;
  proxyUrl?: string | undefined;
  /** The context's own; `default` where it names none. */
  namespace: string;
  /** Read anew at each call, so that rotated files and tokens take effect. */
  credentials(): Promise<Credentials>;
}

/** Where a pod is told that the API server is (KUBERNETES_SERVICE_HOST and _PORT). */
export interface ApiServerAddress {
  host: string;
  port: number;
}

export interface AccessOptions {
  /** Path of a kubeconfig file; absent = the account of the pod, KUBECONFIG, ~/.kube/config. */
  kubeconfig?: string | undefined;
  /** In a pod: its own account is used when no kubeconfig is given. */
  apiServer?: ApiServerAddress | undefined;
  context?: string | undefined;
}
