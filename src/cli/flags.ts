import {
  type ConfigKey,
  configKeys,
  type ConfigValues,
  flagOf,
  schema,
  sectionOf,
} from "../config/schema.ts";
import type { OptionSpec, OptionSpecs, Usage } from "./command.ts";

/** A flag as parsing, help and completion see it, whatever it sets. */
export interface Flag {
  /** Without the dashes. */
  name: string;
  short?: string;
  /** Undefined for a flag that may stand alone. */
  placeholder?: string;
  help: string;
  repeat: boolean;
  choices?: readonly string[];
  sets:
    | { kind: "option"; key: string; spec: OptionSpec }
    | { kind: "config"; key: ConfigKey }
    | { kind: "common"; key: CommonFlag };
}

export type CommonFlag = "help" | "json" | "color" | "config";

const common: Record<CommonFlag, Omit<Flag, "name" | "repeat" | "sets">> = {
  help: { short: "h", help: "Show this help" },
  json: { help: "Print one JSON document instead of text" },
  color: {
    placeholder: "auto|always|never",
    choices: ["auto", "always", "never"],
    help: "When to use colour",
  },
  config: { placeholder: "FILE", help: "Configuration file to read" },
};

/** All flags that a command takes. The second name of a key is a flag of its own for the same key. */
export function flagsOf(usage: Usage): Flag[] {
  const flags = [...optionFlags(usage.options), ...configFlags(usage)];
  const names = (Object.keys(common) as CommonFlag[])
    .filter((name) => name !== "config" || (usage.config?.length ?? 0) > 0);
  for (const name of names) {
    flags.push({ name, ...common[name], repeat: false, sets: { kind: "common", key: name } });
  }
  return flags;
}

export function optionFlags(options: OptionSpecs): Flag[] {
  return Object.entries(options).map(([key, spec]) => {
    const placeholder = placeholderOf(key, spec);
    return {
      name: kebab(key),
      help: spec.help,
      repeat: spec.repeat ?? false,
      ...(spec.short === undefined ? {} : { short: spec.short }),
      ...(placeholder === undefined ? {} : { placeholder }),
      ...(spec.kind === "choice" ? { choices: spec.choices } : {}),
      sets: { kind: "option", key, spec },
    };
  });
}

export function configFlags(usage: Usage): Flag[] {
  return configKeys.filter((key) => usage.config?.includes(sectionOf(key))).flatMap((key) => {
    const { kind, help, flag } = schema[key];
    const choices = "choices" in kind ? { choices: kind.choices as string[] } : {};
    return [flagOf(key), ...(flag === undefined ? [] : [flag])].map((name) => ({
      name,
      help: name === flag ? `Short for --${flagOf(key)}` : help,
      repeat: false,
      ...(kind.placeholder === undefined ? {} : { placeholder: kind.placeholder }),
      ...choices,
      sets: { kind: "config" as const, key },
    }));
  });
}

/** The default of a key for help: in words, or the value where it is the same on every host. */
export function configDefault(key: ConfigKey): string {
  const spec = schema[key];
  if (spec.defaultHelp !== undefined) return `default ${spec.defaultHelp}`;
  const nowhere = { hostname: "", cpus: 1, stateRoot: "", terminal: false };
  const value = spec.default(nowhere, {} as ConfigValues);
  return value === undefined ? "" : `default ${String(value)}`;
}

/** `addHostname` → `add-hostname`. */
export function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function placeholderOf(key: string, spec: OptionSpec): string | undefined {
  if (spec.kind === "flag") return undefined;
  if (spec.placeholder !== undefined) return spec.placeholder;
  switch (spec.kind) {
    case "choice":
      return spec.choices.join("|");
    case "integer":
      return "N";
    case "duration":
      return "DURATION";
    case "pair":
      return "NAME=VALUE";
    case "path":
      return "PATH";
    case "text":
      return kebab(key).split("-").at(-1)!.toUpperCase();
  }
}
