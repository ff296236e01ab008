import assert from "node:assert/strict";
import { UserError } from "../base/errors.ts";
import { setInFile } from "./edit.ts";
import { parseFile } from "./file.ts";
import type { ConfigKey } from "./schema.ts";

const set = (text: string, key: ConfigKey, ...texts: string[]) =>
  setInFile("/c.yaml", text, key, texts);

Deno.test("a key is set, and the rest of the file stays as it is", () => {
  for (
    const [before, key, texts, after] of [
      ["", "peer.insecure", ["false"], "peer:\n  insecure: false\n"],
      [
        "# mine\nlog: {level: warn}",
        "peer.insecure",
        ["false"],
        "# mine\nlog: {level: warn}\npeer:\n  insecure: false\n",
      ],
      [
        "peer: { insecure: true } # why\n",
        "peer.insecure",
        ["false"],
        "peer: { insecure: false } # why\n",
      ],
      [
        "peer: {insecure: true, key_file: /k}\n",
        "peer.key_file",
        ["/a b"],
        'peer: {insecure: true, key_file: "/a b"}\n',
      ],
      [
        "peer: { insecure: true }\n",
        "peer.key_file",
        ["/k"],
        "peer: { insecure: true, key_file: /k }\n",
      ],
      ["peer: {}\n", "peer.key_file", ["/k"], "peer: { key_file: /k }\n"],
      [
        "peer:\n    # a comment\n    insecure: true # why\n\nlog:\n  level: info\n",
        "peer.insecure",
        ["false"],
        "peer:\n    # a comment\n    insecure: false # why\n\nlog:\n  level: info\n",
      ],
      [
        "log:\n  level: warn\nworker:\n  id: a\n",
        "worker.slots",
        ["4"],
        "log:\n  level: warn\nworker:\n  slots: 4\n  id: a\n",
      ],
      ["peer:\n", "peer.insecure", ["false"], "peer:\n  insecure: false\n"],
      [
        "worker:\n  allow_commands:\n    - /bin/a\n    - /bin/b\n  id: x\n",
        "worker.allow_commands",
        ["/bin/c", "/d e"],
        'worker:\n  allow_commands: [/bin/c, "/d e"]\n  id: x\n',
      ],
      [
        "worker:\n  allow_commands:\n  - /bin/a\n  id: x\n",
        "worker.allow_commands",
        ["/bin/c"],
        "worker:\n  allow_commands: [/bin/c]\n  id: x\n",
      ],
      [
        "worker: { labels: [a=1], id: x }\n",
        "worker.labels",
        ["b=2", "c=3"],
        "worker: { labels: [b=2, c=3], id: x }\n",
      ],
      ['worker:\n  id: "a # b" # c\n', "worker.id", ["w"], "worker:\n  id: w # c\n"],
      [
        "coordinator:\n  host: 127.0.0.1\n",
        "coordinator.host",
        ["::"],
        'coordinator:\n  host: "::"\n',
      ],
    ] as [string, ConfigKey, string[], string][]
  ) {
    const edited = set(before, key, ...texts);
    assert.equal(edited, after);
    const { values, problems } = parseFile("/c.yaml", edited);
    assert.deepEqual(problems, []);
    assert.deepEqual([values.get(key)?.text].flat(), texts);
  }
});

Deno.test("what cannot be edited safely is refused with the line to write", () => {
  for (
    const [text, key] of [
      ["peer: &x\n  insecure: true\n", "peer.insecure"],
      ["{peer: {insecure: true}}\n", "peer.insecure"],
      ["peer: {insecure: true,\n  key_file: /k}\n", "peer.insecure"],
      ["peer: 7\n", "peer.insecure"],
      ["worker: { labels: {a: b} }\n", "worker.labels"],
      ["worker:\n  user: |\n    insecure\n  id: |\n    x\n\n    y\n", "worker.id"],
    ] as [string, ConfigKey][]
  ) {
    assert.throws(
      () => set(text, key, key === "worker.labels" ? "x=y" : "false"),
      (error) => error instanceof UserError && /^Write it by hand/.test(error.next ?? ""),
      text,
    );
  }
  assert.throws(() => set("peer: {", "peer.insecure", "false"), /is not valid YAML/);
});
