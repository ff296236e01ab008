import { dirname, join, resolve } from "node:path";
import { makeFolder, stagedName, writeFileAtomic } from "../../base/fs/atomic_file.ts";
import { reasonOf } from "../../base/fs/reason.ts";
import { UsageError, UserError } from "../../base/errors.ts";
import { suggestion } from "../../base/suggest.ts";
import type { Env } from "../../base/env.ts";
import { typedValue } from "../../config/load.ts";
import { type Config, type ConfigKey, configKeys } from "../../config/schema.ts";
import { noGrants } from "../../sandbox/grants.ts";
import { command } from "../command.ts";

export default command({
  path: "config set",
  summary: "Set a key in the configuration file",
  description:
    `Keeps the comments and the other keys of the file, and creates it if there is none. The
    value is checked first. A list takes several values. Roles read the file when they start.`,
  args: [
    { name: "KEY", help: "Key as agent config show lists it", required: true },
    { name: "VALUE", help: "Value; several for a list", required: true, repeat: true },
  ],
  options: {},
  config: [],
  lenient: true,
  makesConfig: true,
  examples: [
    { line: "agent config set peer.insecure false", does: "Turn TLS on for gRPC" },
    { line: "agent config set worker.labels gpu=a100 zone=b", does: "Set a list" },
  ],
  grants: ({ config, env }) => {
    const file = realFile(config, env);
    makeFolder(dirname(file));
    const files = [file, stagedName(file)];
    return { ...noGrants, read: files, write: files, sys: ["uid"] };
  },
  run: async ({ args: [name = "", ...typed], config, env }) => {
    const key = configKeys.find((known) => known === name);
    if (key === undefined) {
      const next = suggestion(name, configKeys, "agent config show lists all keys");
      throw new UsageError(`Unknown key "${name}"`, next);
    }
    const texts = typedValue(key, typed, Deno.cwd());
    const file = realFile(config, env);
    const { text, mode } = read(file);
    // Loaded late, for the YAML parser.
    const { setInFile } = await import("../../config/edit.ts");
    const edited = setInFile(file, text, key, texts);
    if (edited !== text) writeFileAtomic(file, edited, mode);
    return {
      file,
      key,
      value: texts.join(","),
      changed: edited !== text,
      overridden: by(config, key),
    };
  },
  text: ({ file, key, value, changed, overridden }) => {
    if (!changed) return `${key} is already ${value} in ${file}`;
    return `Set ${key} to ${value} in ${file}\n` +
      (overridden === null
        ? "Restart running roles to apply it"
        : `It has no effect for now: the ${overridden} sets another value`);
  },
});

/** The stronger source that sets the key too, if there is one. */
function by({ origins }: Config, key: ConfigKey): "environment" | null {
  return origins[key] === "environment" ? "environment" : null;
}

/** The file behind links, because a rename would replace a link. */
function realFile({ file }: Config, { configRoot }: Env): string {
  if (file === undefined) return join(configRoot, "config.yaml");
  try {
    return Deno.realPathSync(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return resolve(file);
    throw error;
  }
}

/** Mode of a new file: it holds no secret, and other users may read what applies to them. */
const newFileMode = 0o644;

function read(file: string): { text: string; mode: number } {
  try {
    const mode = Deno.statSync(file).mode ?? newFileMode;
    return { text: Deno.readTextFileSync(file), mode: mode & 0o777 };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { text: "", mode: newFileMode };
    throw new UserError(`Reading "${file}" failed: ${reasonOf(error)}`, { cause: error });
  }
}
