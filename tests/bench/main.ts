import { parseArgs } from "@std/cli/parse-args";
import { agent } from "../support/agent.ts";
import { type Bench, describe, reached, Unavailable } from "./report.ts";

const benches: Record<string, () => Promise<{ bench: Bench }>> = {
  start: () => import("./start.ts"),
  commands: () => import("./commands.ts"),
  array: () => import("./array.ts"),
  dispatch: () => import("./dispatch.ts"),
  latency: () => import("./latency.ts"),
  ceiling: () => import("./ceiling.ts"),
  logs: () => import("./logs.ts"),
  artifacts: () => import("./artifacts.ts"),
  idle: () => import("./idle.ts"),
  scale: () => import("./scale.ts"),
  tls: () => import("./tls.ts"),
  ui: () => import("./ui.ts"),
  node: () => import("./node.ts"),
  image: () => import("./image.ts"),
  mesh: () => import("./mesh.ts"),
  deploy: () => import("./deploy.ts"),
};

const say = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));

const odd = Deno.args.find((arg) => arg.startsWith("-") && !/^--(quick|source)$/.test(arg));
if (odd !== undefined) {
  say(`Unknown option "${odd}"; options are --quick and --source`);
  Deno.exit(2);
}
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
const { command, args } = agent.command("version");
const version = await new Deno.Command(command, { args, stderr: "inherit" }).output();
say(
  `${new TextDecoder().decode(version.stdout).trim()}\n` +
    `${source === true ? "From source" : executable}, reference on Deno ${Deno.version.deno}, ` +
    `${navigator.hardwareConcurrency} cores, load ${load} at the start`,
);
let missed = 0;
let skipped = 0;
for (const name of names) {
  const { bench } = await benches[name]!();
  say(`\n${bench.name}: ${bench.what}`);
  try {
    for await (const figure of bench.run({ quick: quick === true })) {
      say(describe(figure));
      if (!reached(figure)) missed++;
    }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    say(`skip ${error.message}`);
    skipped++;
  }
}
say(`\n${missed === 0 ? "All targets reached" : `${missed} targets missed`}, ${skipped} skipped`);
Deno.exit(missed === 0 ? 0 : 1);
