/** The body of POST /api/tasks, made of what was typed. The node checks it again. */
import { parseDuration } from "../../base/durations.ts";
import { UserError } from "../../base/errors.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";
import type { TaskDescription } from "../../client/task_spec.ts";
import { Problem } from "../node_api.ts";
import type { TaskView } from "../views.ts";

/** Everything is text; what was left empty is "". */
export interface SubmitFields {
  command: string;
  /** Absent unless the box is ticked. */
  shell?: "true";
  each?: "true";
  require_match?: "true";
  selector: string;
  /** An id: the label that every worker has. */
  worker: string;
  resources: string;
  timeout: string;
  retries: string;
  retry_delay: string;
  max_lost: string;
  lost_after: string;
  cwd: string;
  array: string;
  lines: string;
  env: string;
  artifacts: string;
  stdin: string;
  idempotency_key: string;
}

/** A task, and where it is submitted to. */
export type SubmitRequest = TaskDescription & {
  each?: boolean | undefined;
  require_match?: boolean | undefined;
};

/** @throws {Problem} for the first field that cannot be read. */
export function submitRequest(fields: SubmitFields): SubmitRequest {
  const text = (name: keyof SubmitFields) => (fields[name] ?? "").trim();
  const given = <T>(name: keyof SubmitFields, read: (text: string) => T): T | undefined =>
    text(name) === "" ? undefined : read(text(name));
  const body = {
    ...(fields.shell === "true"
      ? { argv: [text("command")], shell: true }
      : { argv: splitCommand(text("command")) }),
    env: given("env", () => pairs(fields.env.split("\n"), "Environment")),
    cwd: given("cwd", (folder) => folder),
    selector: selector(text("selector"), text("worker")),
    resources: given("resources", resources),
    timeout_ms: given("timeout", (value) => duration(value, "Timeout")),
    retries: given("retries", (value) => wholeNumber(value, "Retries")),
    max_lost: given("max_lost", (value) => wholeNumber(value, "Again when lost")),
    lost_after_ms: given(
      "lost_after",
      (value) => value === "never" ? 0 : duration(value, "Lost after"),
    ),
    retry_delay_ms: given("retry_delay", (value) => duration(value, "Wait before each")),
    artifacts: given("artifacts", (lines) =>
      lines.split("\n").map((line) => line.trim())
        .filter((line) => line !== "")),
    array: given("array", (range) => range),
    lines: given("lines", () => fields.lines.replace(/\n$/, "").split("\n")),
    idempotency_key: given("idempotency_key", (key) => key),
    // As it was typed, with the end of its last line.
    stdin_base64: fields.stdin === "" ? undefined : base64(fields.stdin),
    each: fields.each === "true" || undefined,
    require_match: fields.require_match === "true" || undefined,
    // A field that tasks get belongs into the form, too; "again when lost" 0 is no_requeue.
  } satisfies Record<Exclude<keyof SubmitRequest, "shell" | "no_requeue">, unknown>;
  const filled = Object.entries(body).filter(([, value]) => value !== undefined);
  return Object.fromEntries(filled) as unknown as SubmitRequest;
}

function selector(labels: string, worker: string): Record<string, string> | undefined {
  if (labels === "" && worker === "") return undefined;
  const found = pairs(labels.split(/[\s,]+/), "Worker labels");
  return worker === "" ? found : { ...found, worker };
}

function resources(text: string): Record<string, number> {
  const counts = Object.entries(pairs(text.split(/[\s,]+/), "Resources"));
  return Object.fromEntries(
    counts.map(([name, count]) => [name, wholeNumber(count, `Resources, ${name}`)]),
  );
}

/** Of the text as UTF-8. */
function base64(text: string): string {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}

/**
 * The fields that give the same task again; undefined where its environment has line breaks, or where
 * it had standard input, which the node does not show.
 */
export function fieldsOf(spec: TaskView["spec"]): SubmitFields | undefined {
  if (spec.stdin_bytes > 0) return undefined;
  const env = Object.entries(spec.env).map(([name, value]) => `${name}=${value}`);
  if (env.some((line) => line.includes("\n"))) return undefined;
  const [program, option, line] = spec.argv;
  const isShell = spec.argv.length === 3 && program === "/bin/sh" && option === "-c";
  return {
    command: isShell ? line! : spec.argv.map(shellQuoted).join(" "),
    ...(isShell ? { shell: "true" as const } : {}),
    selector: pairsText(spec.selector),
    worker: "",
    resources: pairsText(spec.resources),
    timeout: durationText(spec.timeout_ms ?? 0),
    retries: spec.retries === 0 ? "" : String(spec.retries),
    retry_delay: durationText(spec.retry_delay_ms),
    max_lost: String(spec.max_lost ?? ""),
    lost_after: spec.lost_after_ms === 0 ? "never" : durationText(spec.lost_after_ms ?? 0),
    cwd: spec.cwd ?? "",
    array: "",
    lines: "",
    env: env.join("\n"),
    artifacts: spec.artifacts.join("\n"),
    stdin: "",
    idempotency_key: "",
  };
}

function pairsText(record: Readonly<Record<string, string | number>>): string {
  return Object.entries(record).map(([key, value]) => `${key}=${value}`).join(" ");
}

/** Exact, in the largest unit that divides it; empty for none. */
function durationText(ms: number): string {
  if (ms === 0) return "";
  const units = [[86_400_000, "d"], [3_600_000, "h"], [60_000, "m"], [1_000, "s"]] as const;
  const [size, unit] = units.find(([each]) => ms % each === 0) ?? [1, "ms"];
  return `${ms / size}${unit}`;
}

function wholeNumber(text: string, field: string): number {
  if (!/^\d+$/.test(text)) throw new Problem(0, `${field}: "${text}" is not a whole number`);
  return Number(text);
}

function duration(text: string, field: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new Problem(0, `${field}: ${error.message}`, error.next);
  }
}

function pairs(lines: string[], field: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of lines.filter((each) => each.trim() !== "")) {
    const at = line.indexOf("=");
    if (at < 1) {
      throw new Problem(0, `${field}: "${line.trim()}" has no "="`, "Write it as name=value");
    }
    found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

/**
 * Words as a POSIX shell splits them: quotes and backslashes, but no variables, pipes or patterns.
 *
 * @throws {Problem} for a quote that is not closed.
 */
export function splitCommand(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const char = line[at]!;
    if (quote === "" && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (quote === "" && (char === "'" || char === '"')) {
      quote = char;
      word ??= "";
    } else if (char === quote) {
      quote = "";
    } else if (char === "\\" && quote !== "'" && at + 1 < line.length) {
      // Between double quotes a backslash quotes only these (POSIX, 2.2.3).
      const next = line[++at]!;
      word = (word ?? "") + (quote === '"' && !'$`"\\'.includes(next) ? `\\${next}` : next);
    } else {
      word = (word ?? "") + char;
    }
  }
  if (quote !== "") throw new Problem(0, `The command has a ${quote} that is not closed`);
  if (word !== undefined) words.push(word);
  return words;
}
