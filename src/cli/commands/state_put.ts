import { Buffer } from "node:buffer";
import { UsageError, UserError } from "../../base/errors.ts";
import type { Env } from "../../base/env.ts";
import { limits } from "../../tasks/limits.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { orConflict } from "../output/state_conflict.ts";
import { checkNames } from "../../client/state_names.ts";
import { stateView } from "../../client/views.ts";
import { command } from "../command.ts";

export default command({
  path: "state put",
  summary: "Set the value of a key",
  description:
    `Prints the new revision. With --if-revision, the value is set only if that is still the
    current revision (0: only if the key does not exist yet); otherwise the current revision is
    printed, and the exit code is 1.`,
  args: [
    { name: "NS", help: "Namespace", required: true },
    { name: "KEY", help: "Key in it", required: true, completes: "state_key" },
    { name: "VALUE", help: "The value; - or nothing reads standard input" },
  ],
  options: {
    ifRevision: { kind: "integer", min: 0, help: "Set it only if this is its current revision" },
  },
  ...dialSettings,
  examples: [
    { line: "agent state put build last-commit 4f2a9c1", does: "Set it, whatever it was" },
    {
      line: 'agent state put build lock "$HOSTNAME" --if-revision 0',
      does: "Take a lock, if it is free",
    },
    {
      line: "agent state put models weights - < weights.bin",
      does: "Store any bytes, up to 1 MiB",
    },
  ],
  exits: { 1: "Failed, or --if-revision is not the current revision" },
  grants: (request) => taskGrants(request),
  run: async (request) => {
    const { args, options, env, json } = request;
    const [namespace, key, typed] = args as [string, string, string | undefined];
    checkNames(namespace, key);
    const value = typed === undefined || typed === "-"
      ? await readInput(env)
      : new TextEncoder().encode(typed);
    if (value.length > limits.maxStateValueBytes) {
      throw new UserError(
        `The value is longer than ${limits.maxStateValueBytes} bytes, the maximum of a key`,
        { next: "Keep larger data as an artifact of a task" },
      );
    }
    return await withTasks(request, async (tasks) =>
      stateView(
        await orConflict(
          { env, json, key },
          () => tasks.putState(namespace, key, value, options.ifRevision),
        ),
      ));
  },
  text: ({ revision }) => String(revision),
});

/** Stops reading once it is more than a value may be. */
async function readInput({ stdin }: Env): Promise<Uint8Array> {
  if (stdin.isTerminal) {
    throw new UsageError("No value was given", {
      next: "Give it as VALUE, or pipe it into the command",
    });
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stdin.readable) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limits.maxStateValueBytes) break;
  }
  return Buffer.concat(chunks);
}
