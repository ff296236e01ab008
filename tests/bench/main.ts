import { parseArgs } from "@std/cli/parse-args";
import { type Bench, describe, reached } from "./report.ts";

const benches: Record<string, () => Promise<{ bench: Bench }>> = {
  start: () => import("./start.ts"),
  dispatch: () => import("./dispatch.ts"),
  latency: () => import("./latency.ts"),
  logs: () => import("./logs.ts"),
  tls: () => import("./tls.ts"),
};

const say = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));

const { _: given, quick, source } = parseArgs(Deno.args, { boolean: ["quick", "source"] });
const names = given.length > 0 ? given.map(String) : Object.keys(benches);
const unknown = names.find((name) => !(name in benches));
if (unknown !== undefined) {
  say(`There is no benchmark "${unknown}"; there are: ${Object.keys(benches).join(", ")}`);
  Deno.exit(2);
}

const root = new URL("../../", import.meta.url).pathname;
const executable = root + "dist/agent";
const built = await Deno.stat(executable).then(() => true, () => false);
if (!built && source !== true) {
  say(`There is no ${executable}; run scripts/compile first, or give --source`);
  Deno.exit(2);
}
if (source !== true) Deno.env.set("AGENT_UNDER_TEST", executable);

const load = (await Deno.readTextFile("/proc/loadavg")).split(" ")[0];
say(
  `${
    source === true ? "From source" : executable
  }, Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} cores, load ${load} at the start`,
);
let missed = 0;
for (const name of names) {
  const { bench } = await benches[name]!();
  say(`\n${bench.name}: ${bench.what}`);
  for await (const figure of bench.run({ quick: quick === true })) {
    say(describe(figure));
    if (!reached(figure)) missed++;
  }
}
say(missed === 0 ? "\nAll targets reached" : `\n${missed} targets missed`);
Deno.exit(missed === 0 ? 0 : 1);
