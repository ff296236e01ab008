import assert from "node:assert/strict";
import { silentLog } from "../../tests/support/silent_log.ts";
import { aborted } from "../base/lifetimes.ts";
import { loadConfig } from "../config/load.ts";
import { realEnv } from "../sandbox/env.ts";
import { noGrants } from "../sandbox/grants.ts";
import { Stopped } from "../sandbox/messages.ts";
import type { ThreadEnd } from "../sandbox/start.ts";
import { role } from "./command.ts";
import { startRole } from "./start.ts";

const { config } = loadConfig({
  flags: new Map([["worker.id", "w1"]]),
  variables: {},
  file: undefined,
  workingFolder: "/",
  host: { hostname: "h", cpus: 1, stateRoot: "/s", terminal: false },
});
const facts = {
  color: { stdout: false, stderr: false },
  configRoot: "/c",
  stateRoot: "/s",
  log: { level: "error", format: "text" },
} as const;

type Beside = NonNullable<Parameters<typeof role>[0]["beside"]>;

function startEcho(signal: AbortSignal, beside: Beside): Promise<ThreadEnd> {
  const spec = role({
    path: "echo",
    summary: "Test",
    options: {},
    examples: [],
    entry: new URL("../../tests/support/echo_role.ts", import.meta.url) as never,
    grants: () => noGrants,
    beside,
  });
  const env = { ...realEnv(facts, signal), log: silentLog };
  const request = { options: {}, args: [], rest: [], config, json: false };
  return startRole(spec, request, env, { env: facts, caKey: () => Promise.resolve("/none") });
}

Deno.test("what runs beside a role talks with it, and ends after it", async () => {
  const stop = new AbortController();
  const heard: string[] = [];
  const end = await startEcho(stop.signal, async (port, { env }) => {
    port.onmessage = ({ data }) => {
      heard.push(data);
      if (data === "up") port.postMessage("x");
      if (data === "w1 heard x") stop.abort(new Stopped("SIGTERM"));
    };
    await aborted(env.signal);
    heard.push("beside over");
  });
  assert.deepEqual(end, { exit: 0 }, "drained by a signal is done");
  assert.deepEqual(heard.filter((word) => word !== "drained"), ["up", "w1 heard x", "beside over"]);
});

Deno.test("a role that fails ends what runs beside it, which may still clean up", async () => {
  let cleaned = false;
  const end = await startEcho(new AbortController().signal, async (port, { env }) => {
    port.postMessage("fail");
    await aborted(env.signal);
    cleaned = true;
  });
  assert("facts" in end && end.facts.message === "told to fail");
  assert(cleaned);
});

Deno.test("a failure beside the role ends the role", async () => {
  const failing = () => Promise.reject(new Error("the runner is gone"));
  const end = await startEcho(new AbortController().signal, failing);
  assert("facts" in end && end.facts.message === "the runner is gone");
});
