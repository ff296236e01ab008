/**
 * Runs the commands of the documents, exactly as printed, on the hosts of hosts.ts.
 *
 * A block of `sh` whose first line names a host belongs to the walk:
 *
 *     # on a
 *     agent tls init
 *     agent tls status --check   # exits 3: …
 *
 * Each command must exit with 0, or with the code in its comment. `# on a, until Ctrl-C` starts a
 * role and leaves it running; the same line again restarts it. A following block of `text` has
 * lines that the commands must print in this order; "…" matches anything.
 */
import assert from "node:assert/strict";
import type { Host } from "./hosts.ts";

export interface Step {
  host: string;
  /** It starts a role and leaves it running. */
  runsOn: boolean;
  commands: { line: string; exit: number }[];
  /** Lines that the commands must print. */
  prints: string[];
  /** Place in the document, for messages: `docs/tls.md:12`. */
  at: string;
}

export interface Section {
  title: string;
  /** 2 for `##`. */
  level: number;
  steps: Step[];
}

/** A block for another kind of machine, such as `# on a Mac`. */
export interface Foreign {
  on: string;
  at: string;
}

export interface Walk {
  sections: Section[];
  foreign: Foreign[];
}

/** Reads a document of this project, such as `docs/tls.md`. */
export async function loadWalk(file: string, hosts: readonly string[]): Promise<Walk> {
  const text = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
  return readWalk(file, text, hosts);
}

/** Asserts that each step of a document is below one of these titles. */
export function assertAllBelow(walk: Walk, titles: string[]): void {
  const tried = new Set(titles.flatMap((title) => stepsBelow(walk, title)));
  const left = walk.sections.flatMap(({ steps }) => steps).filter((step) => !tried.has(step));
  assert.deepEqual(left.map(({ at }) => at), [], "no test runs these blocks");
}

/** Reads the steps of a document by section. */
export function readWalk(file: string, text: string, hosts: readonly string[]): Walk {
  const walk: Walk = { sections: [{ title: "", level: 1, steps: [] }], foreign: [] };
  const lines = text.split("\n");
  let last: Step | undefined;
  for (let i = 0; i < lines.length; i++) {
    const heading = lines[i]!.match(/^(#{1,6}) (.+)$/);
    if (heading) {
      walk.sections.push({ title: heading[2]!, level: heading[1]!.length, steps: [] });
      last = undefined;
    }
    const fence = lines[i]!.match(/^(\s*)```(\w*)$/);
    if (!fence) {
      if (lines[i]!.trim() !== "") last = undefined;
      continue;
    }
    const at = `${file}:${i + 1}`;
    const block: string[] = [];
    while (++i < lines.length && !/^\s*```$/.test(lines[i]!)) {
      // Inside a list everything is indented like the fence.
      block.push(lines[i]!.slice(fence[1]!.length));
    }
    if (fence[2] === "text" && last) {
      last.prints.push(...block.filter((line) => line !== ""));
      continue;
    }
    if (fence[2] !== "sh") continue;
    const steps = stepsOf(block, at, hosts, walk.foreign);
    walk.sections.at(-1)!.steps.push(...steps);
    last = steps.at(-1);
  }
  return walk;
}

function stepsOf(
  block: string[],
  at: string,
  hosts: readonly string[],
  foreign: Foreign[],
): Step[] {
  const steps: Step[] = [];
  for (const line of block) {
    const on = line.match(/^# on ([\w-]+)(.*)$/);
    if (on && hosts.includes(on[1]!) && ["", ", until Ctrl-C"].includes(on[2]!)) {
      steps.push({ host: on[1]!, runsOn: on[2] !== "", commands: [], prints: [], at });
    } else if (on && steps.length === 0) {
      foreign.push({ on: line.slice("# on ".length), at });
      return [];
    } else if (steps.length === 0) {
      throw new Error(`${at}: a block of sh must begin with "# on HOST"`);
    } else if (line === "" || line.startsWith("#")) continue;
    else addLine(steps.at(-1)!.commands, line);
  }
  return steps;
}

/** An indented line, or a line after a backslash, belongs to the command before it. */
function addLine(commands: Step["commands"], line: string): void {
  const before = commands.at(-1);
  const exit = Number(line.match(/ # exits (\d+)/)?.[1] ?? 0);
  if (before && (/^(\s|done\b)/.test(line) || before.line.endsWith("\\"))) {
    before.line += `\n${line}`;
    before.exit ||= exit;
  } else commands.push({ line, exit });
}

/** The steps of a section and of its subsections. */
export function stepsBelow(walk: Walk, title: string): Step[] {
  const first = walk.sections.findIndex((section) => section.title === title);
  assert.notEqual(first, -1, `no section "${title}"`);
  const level = walk.sections[first]!.level;
  const next = walk.sections.findIndex((section, i) => i > first && section.level <= level);
  return walk.sections.slice(first, next === -1 ? undefined : next).flatMap((section) =>
    section.steps
  );
}

/** Runs steps on hosts one after the other. Disposal stops all roles. */
export class Typist implements AsyncDisposable {
  /** Stops each running role; throws if it does not stop. */
  readonly #running = new Map<string, () => PromiseLike<unknown>>();

  constructor(readonly hosts: Host[]) {}

  async type(steps: Step[]): Promise<void> {
    for (const step of steps) {
      const host = this.hosts.find(({ name }) => name === step.host);
      assert(host, `${step.at}: there is no host ${step.host}`);
      let printed = "";
      for (const { line, exit } of step.commands) {
        printed += step.runsOn
          ? await this.#start(host, line)
          : await this.#run(host, line, exit, step.at);
      }
      assertPrinted(printed, step);
    }
  }

  async #run(host: Host, line: string, exit: number, at: string): Promise<string> {
    const { code, stdout, stderr } = await host.run(line);
    const said = `${stdout}${stderr}`;
    assert.equal(code, exit, `${at}: on ${host.name} exits ${code}, not ${exit}: ${line}\n${said}`);
    return said;
  }

  async #start(host: Host, line: string): Promise<string> {
    const key = `${host.name}: ${line}`;
    await this.#running.get(key)?.();
    this.#running.delete(key);
    if (!line.startsWith("agent ")) {
      // The only other server in the documents is OpenSSL's.
      const server = await host.serve(line, /ACCEPT/);
      this.#running.set(key, () => server[Symbol.asyncDispose]());
      return "";
    }
    const role = await host.start(line);
    this.#running.set(key, () => role.stop());
    return role.stderr();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#running.values()];
    this.#running.clear();
    for (const stop of all) await stop();
  }
}

function assertPrinted(printed: string, step: Step): void {
  let rest = printed;
  for (const line of step.prints) {
    const parts = line.trim().split("…").map((part) =>
      RegExp.escape(part).replaceAll(/(?:\\x20)+| +/g, " +")
    );
    const found = rest.match(new RegExp(`^\\s*${parts.join(".*")}\\s*$`, "m"));
    assert(found, `${step.at}: not printed: ${line}\nin:\n${printed}`);
    rest = rest.slice(found.index! + found[0].length);
  }
}
