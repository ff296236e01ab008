import { type EnvFacts, realEnv } from "../sandbox/env.ts";
import { serveThread } from "../sandbox/thread.ts";
import type { Request } from "./command.ts";
import { execute } from "./execute.ts";
import { loadCommand } from "./registry.ts";

/** What the main thread hands to the thread of a command. */
export interface CommandInit {
  path: string;
  request: Request;
  env: EnvFacts;
}

// The entry of a thread: started by URL, see sandbox/entries.ts.
serveThread<CommandInit>(async ({ path, request, env }, signal) => {
  const spec = await loadCommand(path);
  if (spec.entry !== undefined) throw new Error(`"${path}" is a role, not a command`);
  return await execute(spec, { ...request, env: realEnv(env, signal) });
});
