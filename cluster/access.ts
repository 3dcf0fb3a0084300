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

export interface AccessOptions {
  /** Path of a kubeconfig file; absent = KUBECONFIG, ~/.kube/config, then the pod's own account. */
  kubeconfig?: string | undefined;
  context?: string | undefined;
}
