import type { AnyCommand } from "./command.ts";
import { type Flag, flagsOf, spellings } from "./flags.ts";
import { loadCommand, namesIn, registry } from "./registry.ts";

/**
 * What may stand in place of the last of these words; nothing where only the shell knows, such as
 * names of files.
 */
export async function complete(words: readonly string[]): Promise<string[]> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  return (await candidates(before, typed)).filter((word) => word.startsWith(typed)).sort();
}

async function candidates(before: readonly string[], typed: string): Promise<string[]> {
  const path = pathOf(before);
  if (path === undefined) return [];
  const left = before.slice(path.length);
  const name = path.join(" ");
  const next = left.length === 0 && !typed.startsWith("-") ? await nextWords(path) : [];
  if (!Object.hasOwn(registry, name)) return next;
  const spec = await loadCommand(name);
  if (left.includes("--")) return [];
  const flags = flagsOf(spec);
  const awaiting = flags.find((flag) => flag.placeholder !== undefined && named(flag, left.at(-1)));
  if (awaiting !== undefined) return [...awaiting.choices ?? []];
  if (typed.startsWith("-")) return flagWords(spec, flags, left);
  return next;
}

/** The words that name a command or group; undefined if they name none. */
function pathOf(words: readonly string[]): string[] | undefined {
  const path = namesIn(words);
  const complete = path.length === 0 || Object.hasOwn(registry, path.join(" "));
  return path.length < words.length && (!complete || path.length === 0) ? undefined : path;
}

async function nextWords(path: readonly string[]): Promise<string[]> {
  const start = path.length === 0 ? "" : `${path.join(" ")} `;
  const names = Object.keys(registry).filter((name) => name.startsWith(start));
  const specs = await Promise.all(names.map(loadCommand));
  const listed = specs.filter((spec) => !spec.hidden);
  return [...new Set(listed.map((spec) => spec.path.slice(start.length).split(" ")[0]!))];
}

/** Flags that were not given yet, or may be repeated. */
function flagWords(spec: AnyCommand, flags: Flag[], left: readonly string[]): string[] {
  const free = flags.filter((flag) => flag.repeat || !left.some((word) => named(flag, word)));
  const words = free.flatMap(spellings).filter((word) => word.startsWith("--"));
  return [...words, ...spec.rest === undefined ? [] : ["--"]];
}

function named(flag: Flag, word: string | undefined): boolean {
  return word !== undefined && spellings(flag).includes(word.split("=")[0]!);
}
