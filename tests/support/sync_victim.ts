/** Stores one thing of each kind in a folder, and prints its name when the store says that it is kept. */
import { join } from "node:path";
import { openCoordinatorStorage } from "../../src/store/coordinator.ts";
import { openSpool } from "../../src/store/spool/spool.ts";
import { silentLog } from "./silent_log.ts";
import { result } from "./engine.ts";

const [folder] = Deno.args;
const data = new Uint8Array(10);
const ref = { taskId: "00000000000001", attempt: 1, fence: 1 };
const { store, logs, artifacts } = openCoordinatorStorage(join(folder!, "data"));
const kept = (what: string) => Deno.stdout.writeSync(new TextEncoder().encode(`kept ${what}\n`));

{
  await using log = await logs.openLog(ref.taskId, 1);
  await log.append("stdout", data);
  await log.append("stderr", data);
  await log.sync();
  kept("log");
}
{
  await using artifact = await artifacts.openArtifact(ref.taskId, 1, "x");
  await artifact.append(data);
  await artifact.finish();
  kept("artifact");
}
await Deno.mkdir(join(folder!, "spool"));
openSpool(join(folder!, "spool"), silentLog).save({
  ...{ key: "t1.1.1", lease: "c:1", result: result(ref) },
  ...{ starts: { stdout: 0, stderr: 0 }, files: [] },
});
kept("result");
store.commit([
  { kind: "put_state", namespace: "n", key: "k", value: data, at: 0, ifRevision: undefined },
]);
kept("commit");
store[Symbol.dispose]();
