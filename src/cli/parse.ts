import { UsageError } from "../base/errors.ts";
import { suggestion } from "../base/suggest.ts";
import { type ConfigKey, configKeys, flagOf } from "../config/schema.ts";
import type { OptionSpec, OptionValues, Usage } from "./command.ts";
import { InvalidValue, parseValue, parseValues } from "../config/values.ts";
import { type CommonFlag, type Flag, flagsOf, spellings } from "./flags.ts";

export interface Parsed {
  options: OptionValues<Record<string, never>>;
  args: string[];
  rest: string[];
  /** Keys of the configuration that were set by a flag, as typed: each time that it was given. */
  config: Map<ConfigKey, string[]>;
  common: Partial<Record<CommonFlag, string>>;
}

/**
 * Reads what follows the command's name. Flags and positional arguments mix in any order; the value
 * of a flag follows "=" or is the next word, even one that starts with "-"; one-letter flags may be
 * bundled; everything after "--" is left as it is.
 *
 * Our own, because @std/cli/parse-args nests `--peer.insecure` under `--peer`, so that the order of
 * flags can lose one, and knows neither unknown nor repeated flags as errors.
 */
export function parse(usage: Usage, words: readonly string[]): Parsed {
  const flags = flagsOf(usage);
  const given = new Map<Flag["sets"]["key"], string[]>();
  const positional: string[] = [];
  let rest: string[] = [];

  const queue = [...words];
  /** `--flag false` is a flag and an argument; the error then says how to write it. */
  let joined: string | undefined;
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === "--") {
      if (usage.rest === undefined) positional.push(...queue);
      else rest = [...queue];
      break;
    }
    if (word === "-" || !word.startsWith("-")) {
      positional.push(word);
      continue;
    }
    for (const { flag, name, value } of readWord(word, usage, flags, queue)) {
      const before = given.get(flag.sets.key);
      if (flag.placeholder === undefined && word === name && word.startsWith("--")) {
        joined ??= `${word}=${queue[0]}`;
      }
      if (before !== undefined && !flag.repeat) {
        throw wrong(usage, `"${name}" is given twice`, "Give it once");
      }
      given.set(flag.sets.key, [...before ?? [], value]);
    }
  }
  const common: Parsed["common"] = {};
  const config: Parsed["config"] = new Map();
  for (const { name, sets, choices } of flags) {
    const values = given.get(sets.key);
    if (values === undefined) continue;
    if (sets.kind === "config") config.set(sets.key, values);
    if (sets.kind === "common") {
      const [value = ""] = values;
      if (choices !== undefined && !choices.includes(value)) {
        throw wrong(usage, `"--${name}" is "${value}", must be one of ${choices.join(", ")}`);
      }
      common[sets.key] = value;
    }
  }
  // An incomplete line may ask for help too.
  const helpWanted = common.help === "true";
  return {
    options: helpWanted ? {} : readOptions(usage, flags, given),
    args: helpWanted ? positional : checkArgs(usage, positional, joined),
    rest,
    config,
    common,
  };
}

interface Reading {
  flag: Flag;
  /** As typed, for errors. */
  name: string;
  value: string;
}

function readWord(word: string, usage: Usage, flags: Flag[], queue: string[]): Reading[] {
  const equals = word.indexOf("=");
  const name = equals < 0 ? word : word.slice(0, equals);
  const attached = equals < 0 ? undefined : word.slice(equals + 1);
  if (!word.startsWith("--")) return readBundle(word, usage, flags, queue);

  const flag = flags.find((known) => spellings(known).includes(name));
  if (flag !== undefined) {
    if (flag.placeholder === undefined) return [{ flag, name, value: bool(usage, name, attached) }];
    return [{ flag, name, value: attached ?? nextWord(name, flag, usage, flags, queue) }];
  }
  const negated = flags.find((known) =>
    known.placeholder === undefined && spellings(known).includes(name.replace("--no-", "--"))
  );
  if (negated !== undefined) {
    if (attached !== undefined) throw wrong(usage, `"${name}" takes no value`);
    return [{ flag: negated, name, value: "false" }];
  }
  const elsewhere = configKeys.find((key) => `--${flagOf(key)}` === name);
  if (elsewhere !== undefined) {
    throw wrong(usage, `"${name}" has no meaning for "agent ${usage.path}"`);
  }
  // `--port` for `--coordinator.port`: the name without its section is what comes to mind.
  const long = flags.find((known) => known.name.endsWith(`.${name.slice(2)}`));
  if (long !== undefined) {
    throw wrong(usage, `Unknown flag "${name}"`, `Did you mean "--${long.name}"?`);
  }
  const known = flags.flatMap(spellings).filter((spelling) => spelling.startsWith("--"));
  throw new UsageError(`Unknown flag "${name}"`, suggestion(name, known, helpFor(usage)));
}

/** `-fv`, `-oDIR`, `-o=DIR`, `-o DIR`: only the last letter may take a value. */
function readBundle(word: string, usage: Usage, flags: Flag[], queue: string[]): Reading[] {
  const found: Reading[] = [];
  for (let i = 1; i < word.length; i++) {
    const name = `-${word[i]}`;
    const flag = flags.find((known) => known.short === word[i]);
    if (flag === undefined) {
      const single = word.slice(1).split("=")[0]!;
      const long = flags.find((known) => known.name === single);
      const hint = long === undefined ? helpFor(usage) : `Did you mean "--${long.name}"?`;
      throw wrong(usage, `Unknown flag "${word.length === 2 ? word : name}" in "${word}"`, hint);
    }
    const after = word.slice(i + 1);
    if (flag.placeholder !== undefined) {
      const value = after === ""
        ? nextWord(name, flag, usage, flags, queue)
        : after.replace(/^=/, "");
      return [...found, { flag, name, value }];
    }
    if (after.startsWith("=")) {
      return [...found, { flag, name, value: bool(usage, name, after.slice(1)) }];
    }
    found.push({ flag, name, value: "true" });
  }
  return found;
}

/** The value as a word of its own, unless that word is another flag. */
function nextWord(
  name: string,
  { placeholder }: Flag,
  usage: Usage,
  flags: Flag[],
  queue: string[],
): string {
  const next = queue[0];
  const isFlag = next !== undefined &&
    flags.some((known) => spellings(known).includes(next.split("=")[0]!));
  if (next === undefined || next === "--" || isFlag) {
    const found = next === undefined ? "nothing follows" : `"${next}" follows`;
    const hint = isFlag ? `If "${next}" is meant, write ${name}=${next}` : undefined;
    throw wrong(usage, `"${name}" needs a value ${placeholder}, but ${found}`, hint);
  }
  return queue.shift()!;
}

function bool(usage: Usage, name: string, value: string | undefined): string {
  if (value === undefined || value === "true" || value === "1") return "true";
  if (value === "false" || value === "0") return "false";
  throw wrong(usage, `"${name}" is "${value}", must be true, false, 1 or 0`);
}

function readOptions(
  usage: Usage,
  flags: Flag[],
  given: ReadonlyMap<string, string[]>,
): Parsed["options"] {
  const options: Record<string, unknown> = {};
  for (const { name, sets, placeholder } of flags) {
    if (sets.kind !== "option") continue;
    const { key, spec } = sets;
    const texts = given.get(key) ?? [];
    if (spec.required && texts.length === 0) {
      throw wrong(usage, `"--${name}${placeholder ? ` ${placeholder}` : ""}" is required`);
    }
    options[key] = readOption(`--${name}`, spec, texts);
  }
  return options as Parsed["options"];
}

function readOption(name: string, spec: OptionSpec, texts: string[]): unknown {
  const [text] = texts;
  try {
    if (spec.repeat) return parseValues(spec, texts);
    if (text !== undefined) return parseValue(spec, text);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    const shown = JSON.stringify(texts.join(" "));
    throw new UsageError(`"${name}" is ${shown}, must be ${error.wanted}`);
  }
  return spec.default ?? (spec.kind === "flag" ? false : undefined);
}

function checkArgs(usage: Usage, positional: string[], joined: string | undefined): string[] {
  const specs = usage.args ?? [];
  const missing = specs.find((spec, i) => spec.required && positional[i] === undefined);
  if (missing !== undefined) throw wrong(usage, `${missing.name} is missing: ${missing.help}`);
  const extra = specs.at(-1)?.repeat ? undefined : positional[specs.length];
  if (extra !== undefined) {
    const hint = /^(true|false|1|0)$/.test(extra) && joined?.endsWith(`=${extra}`)
      ? `Write it as ${joined}`
      : usage.rest === undefined
      ? undefined
      : `Put "--" before it: agent ${usage.path} -- ${positional.slice(specs.length).join(" ")}`;
    throw wrong(usage, `Unexpected argument "${extra}"`, hint);
  }
  return positional;
}

function wrong(usage: Usage, message: string, next = helpFor(usage)): UsageError {
  return new UsageError(message, { next });
}

function helpFor(usage: Usage): string {
  return `agent ${usage.path} --help`;
}
