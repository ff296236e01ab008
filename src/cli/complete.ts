import type { AnyCommand, LiveKind } from "./command.ts";
import { type Flag, flagsOf, spellings } from "./flags.ts";
import { groups, loadCommand, namesIn, registry } from "./registry.ts";

export interface Candidate {
  word: string;
  /** One line about it, for shells that show it. */
  does?: string | undefined;
}

/** What only the coordinators know, such as ids of tasks. */
export interface LiveQuestion {
  kind: LiveKind;
  /** Of a state key. */
  namespace?: string;
  typed: string;
  /** Belongs before each answer: `--worker=`. */
  prefix: string;
  /** What the line names already. */
  except: string[];
  /** Flags of the line that say what to dial, and how. */
  dial: string[];
}

export type Completion =
  | { candidates: Candidate[] }
  | { live: LiveQuestion }
  /** Only the shell knows, as with names of files. */
  | undefined;

/** What may stand in place of the last of these words. */
export async function complete(words: readonly string[]): Promise<Completion> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const path = pathOf(before);
  if (path === undefined) return undefined;
  const left = before.slice(path.length);
  const next = left.length === 0 && !typed.startsWith("-") ? await nextWords(path) : [];
  if (next.length > 0) return matching(next, typed);
  const name = path.join(" ");
  if (!Object.hasOwn(registry, name)) return undefined;
  const spec = await loadCommand(name);
  const flags = flagsOf(spec);
  const line = readLine(flags, left);
  if (line.over) return undefined;
  const [attached, ...value] = typed.split("=");
  const assigned = value.length > 0 ? flags.find((flag) => named(flag, attached)) : undefined;
  if (line.awaiting !== undefined) return valueOf(line.awaiting, line, typed, "");
  if (assigned !== undefined) return valueOf(assigned, line, value.join("="), `${attached}=`);
  if (typed.startsWith("-")) return matching(flagWords(spec, flags, left), typed);
  const args = spec.args ?? [];
  const arg = args[line.positional.length] ?? (args.at(-1)?.repeat ? args.at(-1) : undefined);
  return arg?.completes === undefined
    ? undefined
    : { live: question(arg.completes, line, typed, "") };
}

function matching(candidates: Candidate[], typed: string): Completion {
  const found = candidates.filter(({ word }) => word.startsWith(typed));
  return { candidates: found.sort((a, b) => a.word < b.word ? -1 : 1) };
}

function valueOf(flag: Flag, line: Line, typed: string, prefix: string): Completion {
  if (flag.choices !== undefined) {
    const words = flag.choices.map((choice) => ({ word: `${prefix}${choice}` }));
    return matching(words, `${prefix}${typed}`);
  }
  const { sets } = flag;
  const kind = sets.kind === "option" ? sets.spec.completes : undefined;
  return kind === undefined ? undefined : { live: question(kind, line, typed, prefix) };
}

function question(kind: LiveKind, line: Line, typed: string, prefix: string): LiveQuestion {
  const [namespace] = line.positional;
  const ofState = kind === "state_key" && namespace !== undefined;
  return {
    kind,
    ...(ofState ? { namespace } : {}),
    typed,
    prefix,
    except: ofState || prefix !== "" ? [] : line.positional,
    dial: line.dial,
  };
}

interface Line {
  positional: string[];
  dial: string[];
  /** The flag whose value is being typed as a word of its own. */
  awaiting: Flag | undefined;
  /** What follows `--` is a command line of its own. */
  over: boolean;
}

const dialSections = /^(client|peer|server)\./;

/** The words before the one that is being typed. Unlike `parse` it accepts what is incomplete. */
function readLine(flags: Flag[], words: readonly string[]): Line {
  const line: Line = { positional: [], dial: [], awaiting: undefined, over: false };
  for (const word of words) {
    const flag = line.awaiting ?? flags.find((each) => named(each, word));
    const isValue = line.awaiting !== undefined;
    line.awaiting = undefined;
    if (word === "--" && !isValue) return { ...line, over: true };
    if (flag === undefined) {
      if (!word.startsWith("-")) line.positional.push(word);
      continue;
    }
    const value = isValue
      ? word
      : word.includes("=")
      ? word.slice(word.indexOf("=") + 1)
      : undefined;
    if (value === undefined && flag.placeholder !== undefined) {
      line.awaiting = flag;
    } else if (flag.sets.kind !== "option" && dials(flag.sets.key)) {
      line.dial.push(value === undefined ? word : `--${flag.name}=${value}`);
    }
  }
  return line;
}

function dials(key: string): boolean {
  return key === "config" || dialSections.test(key);
}

/** The words that name a command or group; undefined if they name none. */
function pathOf(words: readonly string[]): string[] | undefined {
  const path = namesIn(words);
  const complete = path.length === 0 || Object.hasOwn(registry, path.join(" "));
  return path.length < words.length && (!complete || path.length === 0) ? undefined : path;
}

async function nextWords(path: readonly string[]): Promise<Candidate[]> {
  const start = path.length === 0 ? "" : `${path.join(" ")} `;
  const names = Object.keys(registry).filter((name) => name.startsWith(start));
  const specs = (await Promise.all(names.map(loadCommand))).filter((spec) => !spec.hidden);
  const found = new Map<string, Candidate>();
  for (const spec of specs) {
    const [word, ...more] = spec.path.slice(start.length).split(" ");
    const does = more.length === 0 ? spec.summary : groups[`${start}${word}`];
    if (!found.has(word!)) {
      found.set(word!, { word: word!, does });
    }
  }
  return [...found.values()];
}

/** Flags that were not given yet, or may be repeated. */
function flagWords(spec: AnyCommand, flags: Flag[], left: readonly string[]): Candidate[] {
  const free = flags.filter((flag) => flag.repeat || !left.some((word) => named(flag, word)));
  const words = free.flatMap((flag) =>
    spellings(flag).filter((word) => word.startsWith("--"))
      .map((word) => ({ word, does: flag.help.replaceAll(/\s+/g, " ") }))
  );
  return [...words, ...spec.rest === undefined ? [] : [{ word: "--", does: spec.rest.help }]];
}

function named(flag: Flag, word: string | undefined): boolean {
  return word !== undefined && spellings(flag).includes(word.split("=")[0]!);
}
