import { UsageError } from "../../base/errors.ts";
import { printable } from "../../base/printable.ts";
import { checkNames } from "../../client/state_names.ts";
import { stateView } from "../../client/views.ts";
import type { StateEntry } from "../../tasks/task.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { keepWatching } from "../output/keep_watching.ts";
import { lineStream } from "../output/line_stream.ts";
import { shownValue } from "../output/state_value.ts";

export default command({
  path: "state watch",
  summary: "Show the keys of a namespace, and each change, until Ctrl-C",
  description:
    `Begins with the keys that there are. Each line has a key, its revision and its value, or
    says that it was deleted. Changes that follow each other quickly may come as one, the newest.`,
  args: [
    { name: "NS", help: "Namespace", required: true },
    { name: "KEY", help: "Only this key", completes: "state_key" },
  ],
  options: { prefix: { kind: "text", help: "Only keys that begin with this text" } },
  ...dialSettings,
  examples: [
    { line: "agent state watch build", does: "Show what is there, and what changes" },
    { line: "agent state watch build lock", does: "The same of one key" },
    { line: "agent state watch build --json", does: "The same for programs, one object a line" },
  ],
  streams: true,
  grants: (request) => taskGrants(request),
  run: (request) => {
    const { env, json, options } = request;
    const [namespace = "", only] = request.args;
    checkNames(namespace, only);
    if (only !== undefined && options.prefix !== undefined) {
      throw new UsageError("KEY and --prefix cannot be used together");
    }
    const prefix = only ?? options.prefix ?? "";
    return withTasks(request, async (tasks) => {
      await using out = lineStream(env, json);
      const shown = new Shown();
      const tell = async (key: string, entry: StateEntry | undefined) => {
        if ((only !== undefined && key !== only) || !shown.isNew(key, entry)) return;
        await out.write(json ? jsonLine(namespace, key, entry) : textLine(key, entry));
      };
      const watching = keepWatching(env, async () => {
        shown.begin();
        for await (const change of tasks.watchState(namespace, prefix, env.signal)) {
          if ("entry" in change) await tell(change.entry.key, change.entry);
          else if ("deletedKey" in change) await tell(change.deletedKey, undefined);
          else for (const key of shown.missing()) await tell(key, undefined);
        }
      });
      await Promise.race([out.closed, watching]);
    });
  },
});

/** What was printed, so that a stream that is opened again repeats nothing and hides nothing. */
class Shown {
  readonly #revisions = new Map<string, number>();
  #seen: Set<string> | undefined;

  /** A stream begins, with all keys that there are. */
  begin(): void {
    this.#seen = new Set();
  }

  /** Keys that were deleted while no stream was open; after the last of those that there are. */
  missing(): string[] {
    const gone = [...this.#revisions.keys()].filter((key) => !this.#seen?.has(key));
    this.#seen = undefined;
    return gone;
  }

  isNew(key: string, entry: StateEntry | undefined): boolean {
    if (entry === undefined) return this.#revisions.delete(key);
    this.#seen?.add(key);
    if (this.#revisions.get(key) === entry.revision) return false;
    this.#revisions.set(key, entry.revision);
    return true;
  }
}

function jsonLine(namespace: string, key: string, entry: StateEntry | undefined): string {
  const view = entry === undefined ? { namespace, key, deleted: true } : stateView(entry);
  return JSON.stringify(view) + "\n";
}

function textLine(key: string, entry: StateEntry | undefined): string {
  if (entry === undefined) return `${printable(key)} deleted\n`;
  return `${printable(key)} ${entry.revision} ${shownValue(stateView(entry))}\n`;
}
