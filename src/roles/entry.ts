import type { Env } from "../base/env.ts";
import { exitCode } from "../base/errors.ts";
import type { Config } from "../config/schema.ts";
import { type EnvFacts, realEnv } from "../sandbox/env.ts";
import { serveThread } from "../sandbox/thread.ts";

/** What the main thread passes to a role. */
export interface RoleInit {
  config: Config;
  env: EnvFacts;
  /** To what runs beside the role in the main thread, such as the worker's runner. */
  port: MessagePort;
}

/**
 * A role serves until `env.signal` aborts, and returns when everything that it opened is closed. After
 * an abort it may return or throw the signal's reason; any other error is a failure.
 */
export type Serve = (config: Config, env: Env, port: MessagePort) => Promise<void>;

/** The one call of a role's entry file; see sandbox/entries.ts for how it is started. */
export function roleEntry(serve: Serve): void {
  serveThread<RoleInit>(async ({ config, env, port }, signal) => {
    await serve(config, realEnv(env, signal), port);
    return exitCode.done;
  });
}
