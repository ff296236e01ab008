import { UsageError } from "../../base/errors.ts";
import { suggestion } from "../../base/suggest.ts";
import { configSections } from "../../config/schema.ts";
import type { Grants } from "../../sandbox/grants.ts";
import { permissions } from "../../sandbox/start.ts";
import { command } from "../command.ts";
import { parse } from "../parse.ts";
import { loadCommand, registry } from "../registry.ts";

export default command({
  path: "sandbox show",
  summary: "Show what a role or command may touch, as Deno flags",
  description: `Roles and commands run in a thread that can do exactly this and nothing else. The
    settings given here apply as they would to the command itself; its own arguments go after "--".`,
  args: [{ name: "COMMAND", help: "A role or command", required: true, repeat: true }],
  rest: { placeholder: "ARGS…", help: "Arguments of the command, where grants depend on them" },
  options: {},
  config: configSections,
  examples: [
    { line: "agent sandbox show version", does: "Show a command that needs no grant" },
    { line: "agent sandbox show config show --json", does: "The same for programs" },
  ],
  run: async ({ args, rest, config, json, env }) => {
    const path = args.join(" ");
    if (!Object.hasOwn(registry, path)) {
      throw new UsageError(
        `Unknown role or command "${path}"`,
        suggestion(path, Object.keys(registry), "agent --help"),
      );
    }
    const spec = await loadCommand(path);
    if (spec.grants === undefined) return { command: path, thread: false, flags: [] };
    const parsed = parse(spec, rest);
    const grants = await spec.grants({ ...parsed, config, json, env });
    return { command: path, thread: true, flags: flagsOf(grants) };
  },
  text: ({ command, thread, flags }) => {
    if (!thread) return `"${command}" runs in the main thread, and neither dials nor listens`;
    return flags.join("\n");
  },
});

/** Deno's own spelling; a permission without a flag is not granted. */
function flagsOf(grants: Grants): string[] {
  return Object.entries(permissions(grants)).flatMap(([name, granted]) => {
    if (granted === false) return [`--deny-${name}`];
    return granted === true ? [`--allow-${name}`] : [`--allow-${name}=${granted.join(",")}`];
  });
}
