import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { kubeconfigPath, SERVICE_RANGE } from "./control-plane.ts";
import { PAUSE_IMAGE } from "./images.ts";
import { PLUGIN_FOLDERS } from "./needs.ts";

/** The benchmarking range 198.18.0.0/15: no real network has it. */
export const ADDRESSES = {
  POD_RANGE: "198.18.0.0/24",
  BRIDGE_ADDRESS: "198.18.0.1",
  /** This machine's end of the link to the node; the API server listens there. */
  HOST_ADDRESS: "198.18.1.1",
  NODE_ADDRESS: "198.18.1.2",
  SERVICE_RANGE,
  DNS_ADDRESS: "198.19.0.10",
};
export const NODE_NAME = "argus-node";
export const CGROUP = "argus-test";

const containerd = (folder: string) => `version = 3
root = "${folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "${PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE no score can be lowered, and every pod would fail.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ${JSON.stringify(PLUGIN_FOLDERS)}
    conf_dir = "${folder}/cni"
`;

const kubelet = (folder: string) => ({
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: join(folder, "pki", "ca.crt") },
  },
  authorization: { mode: "Webhook" },
  containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
  clusterDNS: [ADDRESSES.DNS_ADDRESS],
  clusterDomain: "cluster.local",
  resolvConf: join(folder, "resolv.conf"),
  failCgroupV1: false,
  failSwapOn: false,
  cgroupDriver: "cgroupfs",
  cgroupRoot: `/${CGROUP}`,
  enforceNodeAllocatable: [],
  podLogsDir: join(folder, "pod-logs"),
  volumePluginDir: join(folder, "plugins"),
  // The disk and the images are the machine's own business.
  evictionHard: {
    "memory.available": "100Mi",
    "nodefs.available": "1%",
    "imagefs.available": "1%",
  },
  imageGCHighThresholdPercent: 100,
});

const NETWORK = {
  cniVersion: "1.0.0",
  name: "argus",
  plugins: [
    {
      type: "bridge",
      bridge: "cni-argus",
      isGateway: true,
      hairpinMode: true,
      ipam: {
        type: "host-local",
        dataDir: "/run/cni",
        ranges: [[{ subnet: ADDRESSES.POD_RANGE }]],
        routes: [{ dst: "0.0.0.0/0" }],
      },
    },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

const dns = (kubeconfig: string) => `.:53 {
  bind ${ADDRESSES.NODE_ADDRESS}
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${kubeconfig}
    pods insecure
    ttl 5
  }
}
`;

/** Writes what the node's programs read. */
export async function writeNodeFiles(folder: string): Promise<void> {
  const write = async (name: string, text: string) => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  };
  await write("containerd.toml", containerd(folder));
  await write("kubelet.json", JSON.stringify(kubelet(folder)));
  await write("cni/10-argus.conflist", JSON.stringify(NETWORK));
  await write("Corefile", dns(kubeconfigPath(folder, "argus-test:dns")));
  await write("resolv.conf", "");
}

/** What the cluster holds from its start: the default StorageClass and the DNS service, whose server is no pod. */
export const FIRST_OBJECTS = [
  {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name: "local",
      annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
    },
    provisioner: "argus.dev/local",
    volumeBindingMode: "WaitForFirstConsumer",
    reclaimPolicy: "Delete",
  },
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kube-dns", namespace: "kube-system", labels: { "k8s-app": "kube-dns" } },
    spec: {
      clusterIP: ADDRESSES.DNS_ADDRESS,
      ports: [
        { name: "dns", port: 53, protocol: "UDP" },
        { name: "dns-tcp", port: 53, protocol: "TCP" },
      ],
    },
  },
  {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: "kube-dns-node",
      namespace: "kube-system",
      labels: {
        "kubernetes.io/service-name": "kube-dns",
        "endpointslice.kubernetes.io/managed-by": "argus-test",
      },
    },
    addressType: "IPv4",
    endpoints: [{ addresses: [ADDRESSES.NODE_ADDRESS], conditions: { ready: true } }],
    ports: [
      { name: "dns", port: 53, protocol: "UDP" },
      { name: "dns-tcp", port: 53, protocol: "TCP" },
    ],
  },
];
