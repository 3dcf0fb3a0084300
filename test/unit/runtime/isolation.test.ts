import { expect, test } from "vitest";
import {
  type IsolationFacts,
  isolationFacts,
  ownsContainer,
  proveIsolation,
} from "#runtime/isolation.ts";

const identity = "         0          0 4294967295\n";
const pod: IsolationFacts = {
  pid: 7,
  parentPid: 1,
  uid: 200_017,
  uidMap: identity,
  firstName: "tini",
  firstCommand: "/usr/bin/tini\0--\0argus\0bridge\0",
};
const mapped = "         0     524288      65536\n";

test.each([
  ["a uid of its own under our reaper", {}, "UniqueUid", true],
  ["mapped ids under our reaper", { uid: 1000, uidMap: mapped }, "UserNamespace", true],
  ["a uid that others may have", { uid: 1000 }, "Degraded", true],
  ["root in the first user namespace", { uid: 0 }, "Degraded", true],
  ["no known id map and a shared uid", { uid: 1000, uidMap: "" }, "Degraded", true],
  ["process 1 itself: nobody reaps", { pid: 1, parentPid: 0 }, "Degraded", true],
  ["a machine's init", { firstName: "systemd", firstCommand: "/sbin/init\0" }, "Degraded", false],
  ["a pod that shares its process namespace", { firstName: "pause" }, "Degraded", false],
  [
    "a container whose reaper runs something else",
    { firstCommand: "tini\0--\0argus\0up\0" },
    "Degraded",
    false,
  ],
  ["a grandchild of the reaper", { parentPid: 6 }, "Degraded", false],
  ["no /proc", { firstName: "", firstCommand: "" }, "Degraded", false],
] as const)("%s", (_, facts, isolation, container) => {
  const all = { ...pod, ...facts };
  expect({ isolation: proveIsolation(all), container: ownsContainer(all) }).toEqual({
    isolation,
    container,
  });
});

test("a test runner has no container for itself", () => {
  expect(ownsContainer(isolationFacts())).toBe(false);
});
