#!/bin/sh
# PID 1 of the node: it runs in process, mount and network namespaces of its own, so all that a node leaves behind (mounts,
# links, packet rules, containers) is gone with this one process. Usage: node.sh FOLDER, with the environment of node.ts.
set -eu
folder=$1

mount --make-rshared /
for private in /run /var/log; do mount -t tmpfs -o mode=755 tmpfs "$private"; done

ip link set lo up
until ip link show argus-node >/dev/null 2>&1; do sleep 0.05; done
ip address add "$NODE_ADDRESS/30" dev argus-node
ip link set argus-node up
ip link add cni-argus type bridge
ip address add "$BRIDGE_ADDRESS/24" dev cni-argus
ip link set cni-argus up
# A way to services and none to the world outside: pods reach the cluster and this machine's own end of the link.
ip route add "$SERVICE_RANGE" via "$HOST_ADDRESS"
echo 1 >/proc/sys/net/ipv4/ip_forward

# As an init system would: what ends is started again.
keep() {
  log=$folder/logs/$1.log
  shift
  while :; do
    "$@" >>"$log" 2>&1 || echo "ended with $?, starting again" >>"$log"
    sleep 1
  done &
}

keep containerd containerd --config "$folder/containerd.toml"
until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done
for image in "$folder"/images/*.tar; do
  ctr -n k8s.io images import "$image" >>"$folder/logs/import.log" 2>&1
done
until [ -e "$folder/control-plane-ready" ]; do sleep 0.05; done
keep kubelet kubelet --config="$folder/kubelet.json" --kubeconfig="$folder/system-node-argus-node.kubeconfig" --root-dir="$folder/kubelet" \
  --node-ip="$NODE_ADDRESS" --hostname-override=argus-node
keep kube-proxy kube-proxy --kubeconfig="$folder/system-kube-proxy.kubeconfig" --proxy-mode=iptables --conntrack-max-per-core=0 \
  --cluster-cidr="$POD_RANGE" --hostname-override=argus-node
keep coredns coredns -conf "$folder/Corefile"
keep provisioner "$NODE" "$PROVISIONER" "$folder/argus-test-provisioner.kubeconfig" "$folder/volumes"
# Orphans of the containers come to PID 1, and `wait` takes them.
wait
