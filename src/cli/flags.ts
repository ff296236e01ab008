import { type ConfigKey, configKeys, flagOf, sectionOf, settingOf } from "../config/schema.ts";
import { placeholderOf, showValue } from "../config/values.ts";
import type { OptionSpec, OptionSpecs, Usage } from "./command.ts";

/** A flag as parsing, help and completion see it, whatever it sets. */
export interface Flag {
  /** Without the dashes. */
  name: string;
  /** A second, shorter name. */
  alias?: string;
  /** One letter. */
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

/** All flags that a command takes. */
export function flagsOf(usage: Usage): Flag[] {
  const flags = [...optionFlags(usage.options), ...configFlags(usage)];
  const names = (Object.keys(common) as CommonFlag[])
    .filter((name) => name !== "config" || usage.config !== undefined);
  for (const name of names) {
    flags.push({ name, ...common[name], repeat: false, sets: { kind: "common", key: name } });
  }
  return flags;
}

export function optionFlags(options: OptionSpecs): Flag[] {
  return Object.entries(options).map(([key, spec]) => {
    const placeholder = optionPlaceholder(key, spec);
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
  return (usage.config ?? []).flatMap((section) =>
    configKeys.filter((key) => sectionOf(key) === section)
      .map((key) => configFlag(key, usage.shortFlags === section))
  );
}

function configFlag(key: ConfigKey, withShort: boolean): Flag {
  const setting = settingOf(key);
  const placeholder = placeholderOf(setting);
  const { alias, short } = setting;
  return {
    name: flagOf(key),
    help: setting.help,
    repeat: setting.repeat ?? false,
    ...(withShort && alias !== undefined ? { alias } : {}),
    ...(withShort && short !== undefined ? { short } : {}),
    ...(placeholder === undefined ? {} : { placeholder }),
    ...(setting.kind === "choice" ? { choices: setting.choices } : {}),
    sets: { kind: "config", key },
  };
}

/** The default of a key for help: in words, or the value where it is the same on every host. */
export function configDefault(key: ConfigKey): string | undefined {
  const { defaultHelp, default: text } = settingOf(key);
  return defaultHelp ?? (typeof text === "string" ? text : undefined);
}

/** The default of an option for help. */
export function optionDefault(spec: OptionSpec): string | undefined {
  return spec.default === undefined ? undefined : showValue(spec, spec.default);
}

/** How a flag can be written: `-o`, `--out`. */
export function spellings({ short, alias, name }: Flag): string[] {
  return [
    ...short === undefined ? [] : [`-${short}`],
    ...alias === undefined ? [] : [`--${alias}`],
    `--${name}`,
  ];
}

/** `addHostname` → `add-hostname`. */
export function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function optionPlaceholder(key: string, spec: OptionSpec): string | undefined {
  if (spec.placeholder !== undefined && spec.kind !== "flag") return spec.placeholder;
  return spec.kind === "text" || spec.kind === "line"
    ? kebab(key).split("-").at(-1)!.toUpperCase()
    : placeholderOf(spec);
}
