/** A node on this machine: how it is started, logged in to, and listened to. */
import { dirname, join } from "node:path";
import { agent, type Running } from "./agent.ts";
import { eventually } from "./eventually.ts";
import type { Home } from "./home.ts";

export const anywhere = ["--port=0", "--node.health-port=0"];

export interface ServedCluster extends AsyncDisposable {
  coordinator: Running;
  node: Running;
}

/**
 * A coordinator and a node that serves it, in one home.
 *
 * @param worker flags of a worker; without them there is none.
 * @param flags of all of them.
 */
export async function startServed(
  home: Home,
  { worker, flags = [] }: { worker?: string[]; flags?: string[] } = {},
): Promise<ServedCluster> {
  await using open = new AsyncDisposableStack();
  const start = async (role: string, own: string[]) =>
    open.use(await agent.start(role, [...own, ...flags], { home }));
  const coordinator = await start("coordinator", [
    "--coordinator.port=0",
    "--coordinator.health-port=0",
  ]);
  const { address } = coordinator;
  if (worker !== undefined) {
    await start("worker", [
      `--worker.coordinators=${address}`,
      "--worker.health-port=0",
      ...worker,
    ]);
  }
  const node = await start("node", [...anywhere, `--node.coordinators=${address}`]);
  const started = open.move();
  return { coordinator, node, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

export const token = (home: Home) => Deno.readTextFileSync(join(dirname(home.tls), "token")).trim();

/** The login URL of the banner. */
export function loginUrl(node: Running): string {
  const line = node.stderr().split("\n").find((each) => each.includes('"msg":"open"'));
  return JSON.parse(line!).url;
}

export interface Event {
  name: string;
  id: string;
  // deno-lint-ignore no-explicit-any -- documents of the API, which assertions look into.
  data: any;
}

/** Server-sent events as they come. */
export class Events {
  readonly #stop = new AbortController();
  readonly #seen: Event[] = [];
  readonly #read: Promise<void>;
  lastId = "";

  constructor(url: string, headers: Record<string, string>) {
    this.#read = this.#follow(url, headers);
  }

  async #follow(url: string, headers: Record<string, string>): Promise<void> {
    try {
      const response = await fetch(url, { headers, signal: this.#stop.signal });
      let text = "";
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const blocks = text.split("\n\n");
        text = blocks.pop()!;
        for (const block of blocks) {
          const [, id, name, data] = /^id: (.*)\nevent: (.*)\ndata: (.*)$/.exec(block) ?? [];
          if (data === undefined) continue;
          this.lastId = id!;
          this.#seen.push({ id: id!, name: name!, data: JSON.parse(data) });
        }
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  async next(wanted: (event: Event) => boolean): Promise<Event> {
    return await eventually(20_000, () => {
      const found = this.#seen.find(wanted);
      if (found !== undefined) return found;
      throw new Error(`Only these came: ${this.#seen.map(({ name }) => name)}`);
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#read;
  }
}
