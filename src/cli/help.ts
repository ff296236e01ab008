import type { AnyCommand } from "./command.ts";
import {
  configDefault,
  configFlags,
  type Flag,
  flagsOf,
  optionDefault,
  optionFlags,
  spellings,
} from "./flags.ts";
import { groups, loadCommand, registry } from "./registry.ts";

/** The help of one command: its purpose, then examples, then arguments and flags. */
export function commandHelp(spec: AnyCommand, width: number): string {
  const own = optionFlags(spec.options);
  const common = flagsOf(spec).filter((flag) => flag.sets.kind === "common");
  const args = (spec.args ?? []).map((arg) => [arg.name, arg.help] as const);
  if (spec.rest) args.push([`-- ${spec.rest.placeholder}`, spec.rest.help]);
  return [
    wrapped(`${spec.summary}.`, width),
    ...(spec.description ?? "").split(/\n\s*\n/).filter((text) => text.trim() !== "")
      .map((text) => wrapped(text.replaceAll(/\s+/g, " ").trim(), width)),
    section("Examples", spec.examples.map(({ line, does }) => `  ${line}\n      ${does}`)),
    section("Usage", [`  ${usageLine(spec, own)}`]),
    section("Arguments", table(args, width)),
    section("Flags", table([...own.map(flagRow), ...shortSettings(spec)], width)),
    settings(spec, width),
    section("Common flags", table(common.map(flagRow), width)),
    section("Exit codes", table(exits(spec), width)),
  ].filter((text) => text !== "").join("\n\n") + "\n";
}

/** A role, or the command that is there for it, describes its settings. */
function describesSettings(spec: AnyCommand): boolean {
  return spec.entry !== undefined || spec.describesSettings === true;
}

/** Of a command that only points to the settings: those with a short flag are in daily use. */
function shortSettings(spec: AnyCommand): Row[] {
  if (describesSettings(spec)) return [];
  return configFlags(spec).filter(({ alias, short }) => alias !== undefined || short !== undefined)
    .map(flagRow);
}

function settings(spec: AnyCommand, width: number): string {
  const sections = spec.config ?? [];
  if (sections.length === 0) return "";
  if (describesSettings(spec)) {
    const title = "Settings (also in the environment and in config.yaml)";
    return section(title, table(configFlags(spec).map(flagRow), width));
  }
  const which = sections.length > 3
    ? "Every setting is a flag"
    : `The settings of ${
      [sections.slice(0, -1).join(", "), sections.at(-1)].filter((text) => text !== "")
        .join(" and ")
    } are flags`;
  const example = sections.includes("peer")
    ? "--peer.insecure=false"
    : `--${configFlags(spec)[0]!.name}`;
  const line = `${which} too, such as ${example}. agent config show --help describes them.`;
  return section("Settings", wrapped(line, width - 2).split("\n").map((text) => `  ${text}`));
}

/** The name of a flag, argument or code, and what it means. */
type Row = readonly [left: string, right: string];

/** What a new user tries first. */
const firstSteps = ["demo", "tls init", "coordinator", "worker", "submit", "task list"];

/** The help of a group, or of `agent` itself; `brief` is its list of commands alone. */
export async function groupHelp(path: string, width: number, brief = false): Promise<string> {
  const start = path === "" ? "" : `${path} `;
  const paths = Object.keys(registry).filter((name) => name.startsWith(start));
  const specs = (await Promise.all(paths.map(loadCommand))).filter((spec) => !spec.hidden);
  const rows = specs.map((spec) => [spec.path, spec.summary] as const);
  const summary = path === ""
    ? "A private CA for a group of hosts, and task execution secured by it."
    : `${groups[path]}.`;
  const shown = path === "" ? specs.filter((spec) => firstSteps.includes(spec.path)) : specs;
  const examples = shown.flatMap((spec) => spec.examples.slice(0, 1))
    .map(({ line, does }) => `  ${line}\n      ${does}`);
  return [
    wrapped(summary, width),
    brief ? "" : section("Examples", examples),
    section("Usage", [`  agent ${start}COMMAND [ARGS…]`]),
    section("Commands", table(rows, width)),
    `Run "agent ${start}COMMAND --help" for the flags, exit codes and examples of a command.`,
  ].filter((text) => text !== "").join("\n\n") + "\n";
}

function usageLine(spec: AnyCommand, flags: Flag[]): string {
  const required = flags.filter(({ sets }) => sets.kind === "option" && sets.spec.required)
    .map((flag) => `--${flag.name} ${flag.placeholder}`);
  const args = (spec.args ?? []).map(({ name, required, repeat }) => {
    const text = repeat ? `${name}…` : name;
    return required ? text : `[${text}]`;
  });
  const rest = spec.rest ? [`-- ${spec.rest.placeholder}`] : [];
  return ["agent", spec.path, ...required, "[FLAGS]", ...args, ...rest].join(" ");
}

function flagRow(flag: Flag): Row {
  const indent = flag.short === undefined ? "    " : "";
  const value = flag.placeholder === undefined ? "" : ` ${flag.placeholder}`;
  const standard = defaultOf(flag);
  const notes = [
    ...flag.repeat ? ["may be repeated"] : [],
    ...standard === undefined ? [] : [`default ${standard}`],
  ];
  const note = notes.length === 0 ? "" : ` (${notes.join("; ")})`;
  return [`${indent}${spellings(flag).join(", ")}${value}`, flag.help + note];
}

function defaultOf({ sets }: Flag): string | undefined {
  if (sets.kind === "option") return optionDefault(sets.spec);
  return sets.kind === "config" ? configDefault(sets.key) : undefined;
}

function exits(spec: AnyCommand): Row[] {
  const dials = spec.grants !== undefined && spec.config?.includes("peer");
  return Object.entries({
    0: "Done",
    1: "Failed",
    2: "Wrong usage or configuration",
    ...dials ? { 3: "Refused plaintext beyond this host; --peer.insecure=true allows it" } : {},
    ...spec.exits,
  })
    .map(([code, meaning]) => [code, meaning] as const);
}

function section(title: string, lines: string[]): string {
  return lines.length === 0 ? "" : `${title}:\n${lines.join("\n")}`;
}

/** Two columns. The second is wrapped, and put below where the first is too wide. */
function table(rows: Row[], width: number): string[] {
  const widestFirst = 34; // The longest common flag fits: --color auto|always|never.
  const first = Math.min(widestFirst, Math.max(0, ...rows.map(([left]) => left.length)));
  return rows.map(([left, right]) => {
    const indent = " ".repeat(first + 4);
    const lines = wrapped(right, Math.max(24, width - first - 4)).split("\n");
    const head = left.length <= first ? `  ${left.padEnd(first)}  ${lines.shift()}` : `  ${left}`;
    return [head, ...lines.map((line) => indent + line)].join("\n");
  });
}

export function wrapped(text: string, width: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}
