/**
 * A coordinator in a process of its own that measures how long its event loop is held. Speaks lines:
 * `ready PORT` first; then to each line on standard input it answers `lag MS`, the longest since the
 * last one.
 */
import { systemClock } from "../../src/base/clock.ts";
import { openEngine } from "../../src/coordinator/engine.ts";
import { servePeer } from "../../src/peer/server.ts";
import { openCoordinatorStorage } from "../../src/store/coordinator.ts";
import { lineStream } from "./lines.ts";
import { silentLog } from "./silent_log.ts";

const env = { clock: systemClock, log: silentLog };
const engine = openEngine({ ...openCoordinatorStorage(Deno.args[0]!), ...env });
const server = await servePeer(
  { host: "127.0.0.1", port: 0, mode: { mode: "h2c" }, tasks: engine, workers: engine, env },
  new AbortController().signal,
);
setInterval(() => engine.advance(), 100);

/** What this thread has worked, in ms: other processes on a busy machine do not count. */
function workedMs(): number {
  return Number(Deno.readTextFileSync("/proc/self/schedstat").split(" ")[0]) / 1e6;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

let longestMs = 0;
let last = { at: performance.now(), worked: workedMs() };
const look = () => {
  const now = { at: performance.now(), worked: workedMs() };
  longestMs = Math.max(longestMs, Math.min(now.at - last.at, now.worked - last.worked));
  last = now;
};
setInterval(look, 2);

say(`ready ${server.port}`);
for await (const _ of Deno.stdin.readable.pipeThrough(lineStream())) {
  look();
  say(`lag ${longestMs.toFixed(1)}`);
  longestMs = 0;
}
Deno.exit(0);
