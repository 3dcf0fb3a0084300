import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { pod, type Tools, widget } from "./tools.ts";

const yaml = (object: object) => JSON.stringify(object);

/** kubectl in a fresh namespace; fails the case when kubectl fails. */
async function inNamespace(t: Tools) {
  const ns = await t.namespace();
  const run = (args: string[], input?: string) => t.kubectl(["-n", ns, ...args], input);
  const ok = async (args: string[], input?: string) => {
    const { code, stdout, stderr } = await run(args, input);
    expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
    return stdout;
  };
  return { ns, run, ok };
}

export function kubectlCases(add: Case): void {
  add("kubectl apply: created, unchanged, configured", async (t) => {
    const { ok } = await inNamespace(t);
    expect(await ok(["apply", "-f", "-"], yaml(widget("a")))).toContain("created");
    expect(await ok(["apply", "-f", "-"], yaml(widget("a")))).toContain("unchanged");
    expect(await ok(["apply", "-f", "-"], yaml(widget("a", { size: 5 })))).toContain("configured");
    expect(await ok(["apply", "-f", "-"], yaml(widget("a")))).toContain("configured");
    expect(await ok(["get", "wg", "a", "-o", "jsonpath={.spec.size}"])).toBe("3");
  });

  add("kubectl apply of a pod patches its containers", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(pod("p")));
    const containers = [{ name: "main", image: "example.test/main:2" }];
    await ok(["apply", "-f", "-"], yaml(pod("p", { containers })));
    expect(await ok(["get", "pod", "p", "-o", "jsonpath={.spec.containers[0].image}"])).toBe(
      "example.test/main:2",
    );
  });

  add("kubectl apply --server-side, its conflict and --force-conflicts", async (t) => {
    const { ok, run } = await inNamespace(t);
    const args = ["apply", "--server-side", "-f", "-"];
    expect(await ok(args, yaml(widget("a")))).toContain("serverside-applied");
    const other = [...args, "--field-manager", "other"];
    const { code, stderr } = await run(other, yaml(widget("a", { color: "blue" })));
    expect(code).toBe(1);
    expect(stderr).toContain('conflict with "kubectl"');
    await ok([...other, "--force-conflicts"], yaml(widget("a", { color: "blue" })));
  });

  add("kubectl apply moves from client-side to server-side", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a")));
    await ok(["apply", "--server-side", "-f", "-"], yaml(widget("a", { color: "blue" })));
  });

  add("kubectl apply names the unknown field", async (t) => {
    const { run } = await inNamespace(t);
    const { code, stderr } = await run(["apply", "-f", "-"], yaml(widget("a", { colour: "x" })));
    expect(code).toBe(1);
    expect(stderr).toContain('unknown field "spec.colour"');
  });

  add("kubectl create, replace and edit-like changes", async (t) => {
    const { ok, run } = await inNamespace(t);
    await ok(["create", "-f", "-"], yaml(widget("a")));
    expect((await run(["create", "-f", "-"], yaml(widget("a")))).stderr).toContain(
      "already exists",
    );
    await ok(["replace", "-f", "-"], yaml(widget("a", { size: 8 })));
    expect(await ok(["get", "widget/a", "-o", "jsonpath={.spec.size}"])).toBe("8");
  });

  add("kubectl create secret, configmap, namespace and serviceaccount", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["create", "secret", "generic", "s", "--from-literal=a=b"]);
    await ok(["create", "configmap", "c", "--from-literal=x=y"]);
    await ok(["create", "serviceaccount", "who"]);
    expect(await ok(["get", "secret", "s", "-o", "jsonpath={.data.a}"])).toBe("Yg==");
    expect(await ok(["get", "configmap", "c", "-o", "jsonpath={.data.x}"])).toBe("y");
    expect(await ok(["create", "token", "who"])).toContain(".");
  });

  add("kubectl get: table, wide, name, json, by label and by category", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a", {}, { labels: { x: "1" } })));
    expect(await ok(["get", "wg"])).toMatch(/^NAME\s+SIZE\s+READY\s+AGE\s*\na\s+3\s+\S+\s*$/m);
    expect(await ok(["get", "wg", "-o", "wide"])).toMatch(/SIZE\s+READY\s+WIDE\s+AGE/);
    expect(await ok(["get", "wg", "-o", "name"])).toBe("widget.contract.argus.dev/a\n");
    expect(JSON.parse(await ok(["get", "wg", "a", "-o", "json"])).kind).toBe("Widget");
    expect(await ok(["get", "wg", "-l", "x=1", "-o", "name"])).toContain("/a");
    const session = {
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusSession",
      metadata: { name: "s" },
      spec: {},
    };
    await ok(["apply", "-f", "-"], yaml(session));
    expect(await ok(["get", "argus", "-o", "name"])).toContain("argussession.argus.dev/s");
    expect(await ok(["get", "all", "-o", "name"])).toContain("argussession.argus.dev/s");
  });

  add("kubectl get pods shows ready, status and restarts", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(pod("p")));
    expect(await ok(["get", "pods"])).toMatch(
      /NAME\s+READY\s+STATUS\s+RESTARTS\s+AGE\s*\np\s+0\/1\s+Pending\s+0/,
    );
  });

  add("kubectl describe finds the object and its events", async (t) => {
    const { ns, ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a")));
    const uid = await ok(["get", "wg", "a", "-o", "jsonpath={.metadata.uid}"]);
    const involvedObject = {
      apiVersion: "contract.argus.dev/v1",
      kind: "Widget",
      name: "a",
      namespace: ns,
      uid,
    };
    const time = "2026-01-01T00:00:00Z";
    await t.post(`/api/v1/namespaces/${ns}/events`, {
      metadata: { name: "e" },
      involvedObject,
      reason: "Happened",
      message: "something happened",
      type: "Warning",
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    });
    expect(await ok(["describe", "wg", "a"])).toMatch(/Warning\s+Happened.*something happened/);
    expect(await ok(["events", "--for", "widget/a"])).toContain("something happened");
    expect(await ok(["get", "events"])).toContain("widget/a");
  });

  add("kubectl describe pod", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(pod("p")));
    expect(await ok(["describe", "pod", "p"])).toMatch(/Name:\s+p\n/);
  });

  add("kubectl wait for a condition that comes later", async (t) => {
    const { ns, ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a")));
    const waiting = ok(["wait", "--for=condition=Ready", "wg/a", "--timeout=20s"]);
    const path = `/apis/contract.argus.dev/v1/namespaces/${ns}/widgets/a/status`;
    await t.patch(path, "merge", { status: { conditions: [{ type: "Ready", status: "True" }] } });
    expect(await waiting).toContain("condition met");
  });

  add("kubectl wait for jsonpath and for deletion; delete --wait", async (t) => {
    const { ok, run } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a")));
    await ok(["wait", "--for=jsonpath={.spec.size}=3", "wg/a", "--timeout=20s"]);
    const gone = ok(["wait", "--for=delete", "wg/a", "--timeout=20s"]);
    expect(await ok(["delete", "wg", "a", "--wait"])).toContain("deleted");
    await gone;
    expect((await run(["get", "wg", "a"])).stderr).toContain("NotFound");
  });

  add("kubectl get -w prints changes", async (t) => {
    const { ns, run, ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a")));
    const watching = run(["get", "wg", "-w", "--request-timeout=3s"]);
    const path = `/apis/contract.argus.dev/v1/namespaces/${ns}/widgets/a`;
    await t.patch(path, "merge", { spec: { size: 4 } });
    await t.patch(path, "merge", { spec: { size: 5 } });
    expect((await watching).stdout).toMatch(/a\s+5\s/);
  });

  add("kubectl patch in all three forms, label and annotate", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(pod("p")));
    await ok([
      "patch",
      "pod",
      "p",
      "--type=json",
      "-p",
      '[{"op":"add","path":"/metadata/labels","value":{"j":"1"}}]',
    ]);
    await ok(["patch", "pod", "p", "--type=merge", "-p", '{"metadata":{"labels":{"m":"1"}}}']);
    await ok(["patch", "pod", "p", "-p", '{"metadata":{"labels":{"s":"1"}}}']);
    await ok(["label", "pod", "p", "l=1"]);
    await ok(["annotate", "pod", "p", "a=1"]);
    const labels = JSON.parse(await ok(["get", "pod", "p", "-o", "jsonpath={.metadata.labels}"]));
    expect(labels).toEqual({ j: "1", m: "1", s: "1", l: "1" });
  });

  add("kubectl patch --subresource=status", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a")));
    const patch = '{"status":{"phase":"Fine"}}';
    await ok(["patch", "wg", "a", "--subresource=status", "--type=merge", "-p", patch]);
    expect(await ok(["get", "wg", "a", "-o", "jsonpath={.status.phase}"])).toBe("Fine");
  });

  add("kubectl diff shows the change and --dry-run=server stores nothing", async (t) => {
    const { ok, run } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a")));
    const { code, stdout } = await run(["diff", "-f", "-"], yaml(widget("a", { size: 9 })));
    expect(code).toBe(1);
    expect(stdout).toMatch(/^\+\s+size: 9$/m);
    await ok(["apply", "--dry-run=server", "-f", "-"], yaml(widget("b")));
    expect((await run(["get", "wg", "b"])).code).toBe(1);
  });

  add("kubectl explain knows our kinds and the built-in ones", async (t) => {
    expect((await t.kubectl(["explain", "argussession.spec.limits"])).stdout).toContain("pids");
    expect((await t.kubectl(["explain", "pod.spec.containers"])).stdout).toContain(
      "imagePullPolicy",
    );
  });

  add("kubectl api-resources, api-versions and version", async (t) => {
    expect((await t.kubectl(["api-resources"])).stdout).toMatch(
      /argussessions\s+asess\s+argus.dev\/v1alpha1\s+true/,
    );
    expect((await t.kubectl(["api-versions"])).stdout).toContain("argus.dev/v1alpha1");
    expect((await t.kubectl(["version"])).stdout).toContain("Server Version");
  });

  add("kubectl auth whoami and can-i", async (t) => {
    expect((await t.kubectl(["auth", "whoami"])).stdout).toContain("Username");
    expect((await t.kubectl(["auth", "can-i", "delete", "pods"])).stdout).toBe("yes\n");
  });

  add("kubectl logs, with --tail and with -f", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(pod("p")));
    expect(await ok(["logs", "p"])).toBe("p/main one\ntwo\n");
    expect(await ok(["logs", "p", "--tail=1"])).toBe("two\n");
    expect(await ok(["logs", "-f", "p"])).toContain("two");
  });

  add("kubectl delete pod with grace and by force", async (t) => {
    const { ok, run } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(pod("p", { nodeName: "contract-node" })));
    await ok(["delete", "pod", "p", "--wait=false"]);
    expect(await ok(["get", "pod", "p"])).toContain("Terminating");
    await ok(["delete", "pod", "p", "--grace-period=0", "--force"]);
    expect((await run(["get", "pod", "p"])).code).toBe(1);
  });

  add("kubectl delete --all and by label", async (t) => {
    const { ok } = await inNamespace(t);
    await ok(["apply", "-f", "-"], yaml(widget("a", {}, { labels: { x: "1" } })));
    await ok(["apply", "-f", "-"], yaml(widget("b")));
    await ok(["delete", "wg", "-l", "x=1"]);
    await ok(["delete", "wg", "--all"]);
    expect(await ok(["get", "wg", "-o", "name"])).toBe("");
  });
}
