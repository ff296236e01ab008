/** A worker and a client in Python, written from agent.proto alone, with a real coordinator. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { startCluster } from "../support/cluster.ts";
import { component } from "../support/component.ts";
import { tempHome } from "../support/home.ts";

const protos = new URL("../../src/peer/proto/", import.meta.url).pathname;
const script = new URL("./foreign.py", import.meta.url).pathname;

/** A Python with gRPC: the one on PATH or the system's, which .ci/run installs packages for. */
async function findPython(): Promise<string | undefined> {
  for (const python of ["python3", "/usr/bin/python3"]) {
    try {
      const tried = new Deno.Command(python, {
        args: ["-c", "import grpc, grpc_tools"],
        stderr: "null",
      });
      if ((await tried.output()).success) return python;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

const python = await findPython();

Deno.test({
  name: "a worker and a client written from agent.proto alone work with a coordinator",
  ...await component("gRPC of Python", () => python === undefined ? "not installed" : undefined),
  fn: async () => {
    await using cluster = await startCluster();
    await using home = await tempHome();
    const run = async (...args: string[]) => {
      const ran = await new Deno.Command(python!, { args, cwd: home.path }).output();
      const text = new TextDecoder();
      assert(ran.success, text.decode(ran.stderr));
      return text.decode(ran.stdout).trim();
    };
    const made = ["--python_out=.", "--grpc_python_out=.", "agent/v1/agent.proto"];
    await run("-m", "grpc_tools.protoc", `--proto_path=${protos}`, ...made);
    const { address, pid } = cluster.coordinator;
    const id = await run(script, address, String(pid));

    const client = (...args: string[]) => agent.run([...args, "--coordinators", address], { home });
    const artifacts = await client("task", "artifacts", id, "-o", join(home.path, "results"));
    assert.equal(artifacts.code, 0, artifacts.stderr);
    const saved = await Deno.stat(join(home.path, "results", "out", "file"));
    assert.deepEqual([saved.size, (saved.mode ?? 0) & 0o777], [1024 * 1024 + 3, 0o640]);
    // The exit code 256 of another system must not become 0.
    assert.equal((await client("task", "logs", id, "--follow")).code, 1);
  },
});
