/** The manifests are valid, and start roles with flags and variables that exist. */
import assert from "node:assert/strict";
import { parse } from "@std/yaml";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { component, programs } from "../support/component.ts";

const folder = join(import.meta.dirname!, "../../packaging/kubernetes");
const files = ["namespace.yaml", "coordinator.yaml", "worker.yaml", "node.yaml"];

Deno.test({
  name: "Kubernetes accepts every manifest",
  ...await component("kubernetes-validate", programs("kubernetes-validate")),
  async fn() {
    const ran = await new Deno.Command("kubernetes-validate", {
      args: ["--strict", ...files.map((file) => join(folder, file))],
    }).output();
    const text = new TextDecoder().decode(ran.stdout) + new TextDecoder().decode(ran.stderr);
    assert.ok(ran.success, text);
  },
});

interface Container {
  args: string[];
  env: { name: string; value?: string }[];
}

Deno.test("every container starts a role with flags and variables that exist", async () => {
  for (const file of files.slice(1)) {
    const text = await Deno.readTextFile(join(folder, file));
    for (const document of text.split(/^---$/m).map((part) => parse(part))) {
      const { spec } = document as { spec: { template?: { spec: { containers: Container[] } } } };
      for (const { args, env } of spec.template?.spec.containers ?? []) {
        const [role, ...flags] = args.map((arg) => arg.replaceAll(/\$\(\w+\)/g, "value"));
        const variables = env.filter(({ name }) => name.startsWith("AGENT_"));
        const ran = await agent.run(["sandbox", "show", role!, ...flags], {
          env: Object.fromEntries(variables.map(({ name, value }) => [name, value])),
        });
        assert.equal(ran.code, 0, `${file}: ${ran.stderr}`);
        assert.match(ran.stdout, /--allow-read=.*\/tls\/tls\.crt/, file);
      }
    }
  }
});

Deno.test("cert-manager keeps the key of workers, whose ids belong to it", async () => {
  const text = await Deno.readTextFile(join(folder, "cert-manager.yaml"));
  const policies = text.split(/^---$/m).map((part) => parse(part) as CertManager)
    .filter(({ kind }) => kind === "Certificate")
    .map(({ metadata, spec }) => [metadata.name, spec.privateKey.rotationPolicy]);
  assert.deepEqual(Object.fromEntries(policies), {
    "agent-coordinator": "Always",
    "agent-worker": "Never",
    "agent-node": "Always",
  });
});

interface CertManager {
  kind: string;
  metadata: { name: string };
  spec: { privateKey: { rotationPolicy: string } };
}
