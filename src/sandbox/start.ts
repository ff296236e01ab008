import type { ErrorFacts } from "../base/errors.ts";
import { configKeys, otherVariables, variableOf } from "../config/schema.ts";
import { entries, type EntryName } from "./entries.ts";
import type { Grants } from "./grants.ts";
import type { FromThread, StopSignal, ToThread } from "./messages.ts";

export interface ThreadOptions {
  entry: EntryName | URL;
  /** For stack traces and debuggers. */
  name: string;
  grants: Grants;
  /** Handed to the entry; cloned, except what `transfer` lists. */
  init: unknown;
  transfer?: Transferable[];
}

export type ThreadEnd = { exit: number } | { facts: ErrorFacts };

export interface Thread extends AsyncDisposable {
  /** Settles when the thread has reported its end or crashed; never rejects. */
  readonly ended: Promise<ThreadEnd>;
  /** Has the thread collect its garbage. */
  idle(): void;
  /** Aborts the thread's signal. */
  stop(signal: StopSignal): void;
}

/** Variables that any thread may read by name. */
const commonVariables = [...configKeys.map(variableOf), ...otherVariables, "GRPC_*"];

/** The grants in Deno's form; nothing is inherited. */
export function permissions(grants: Grants): Deno.PermissionOptionsObject {
  const list = (items: string[]) => items.length === 0 ? false as const : items;
  return {
    read: list(grants.read),
    write: list(grants.write),
    net: grants.net === true ? true : list(grants.net),
    sys: list(grants.sys),
    run: list(grants.run),
    env: [...new Set([...commonVariables, ...grants.env])],
    ffi: false,
    import: false,
  };
}

/** Starts an entry in a thread that can do exactly what the grants say. */
export function startThread(options: ThreadOptions): Thread {
  const worker = new Worker(options.entry instanceof URL ? options.entry : entries[options.entry], {
    type: "module",
    name: options.name,
    deno: { permissions: permissions(options.grants) },
  });
  const { promise, resolve } = Promise.withResolvers<ThreadEnd>();
  worker.onmessage = ({ data }: MessageEvent<FromThread>) =>
    resolve(data.kind === "ended" ? { exit: data.exit } : { facts: data.facts });
  // The entry reports its own errors; this one happened before it could, for example in an import.
  worker.onerror = (event) => {
    event.preventDefault();
    const at = event.filename ? ` (${event.filename}:${event.lineno})` : "";
    resolve({
      facts: { message: event.message, code: "internal", exit: 1, stack: event.message + at },
    });
  };
  worker.onmessageerror = () =>
    resolve({
      facts: { message: "A thread sent a message that cannot be read", code: "internal", exit: 1 },
    });
  const tell = (message: ToThread, transfer: Transferable[] = []) =>
    worker.postMessage(message, transfer);
  tell({ kind: "start", init: options.init }, options.transfer);
  return {
    ended: promise,
    idle: () => tell({ kind: "idle" }),
    stop: (signal) => tell({ kind: "stop", signal }),
    async [Symbol.asyncDispose]() {
      worker.terminate();
      resolve({ facts: { message: "The thread was ended", code: "internal", exit: 1 } });
      await promise;
    },
  };
}
