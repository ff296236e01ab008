/**
 * Looks at many nodes at once, over kept connections: a process for each look would take more
 * processor time than the nodes. A line on standard input is a `Watch`; the answer is a line, empty
 * once each node sees so many reachable ones.
 */
import { Agent, request } from "node:https";
import { lineStream } from "../support/lines.ts";

export interface Watch {
  /** Host and port, and the bearer token, of each. */
  nodes: { address: string; token: string }[];
  /** PEM of the CA. */
  ca: string;
  /** Reachable nodes that each is to see, itself included. */
  count: number;
  withinMs: number;
}

const lookMs = 200;
const pool = new Agent({ keepAlive: true, maxSockets: 1 });

if (import.meta.main) {
  for await (const line of Deno.stdin.readable.pipeThrough(lineStream())) {
    const answer = await watch(JSON.parse(line) as Watch);
    await Deno.stdout.write(new TextEncoder().encode(`${answer}\n`));
  }
}

async function watch({ nodes, ca, count, withinMs }: Watch): Promise<string> {
  const endAt = performance.now() + withinMs;
  const late = await Promise.all(nodes.map(async ({ address, token }) => {
    for (;;) {
      const saw = await reachable(address, token, ca);
      if (saw === count) return [];
      if (performance.now() > endAt) return [`${address} sees ${saw} of ${count}`];
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  }));
  return late.flat().join(", ");
}

/** How many nodes it sees, or why it does not answer. */
function reachable(address: string, token: string, ca: string): Promise<number | string> {
  const { promise, resolve } = Promise.withResolvers<number | string>();
  const headers = { authorization: `Bearer ${token}` };
  const options = { agent: pool, ca, headers, checkServerIdentity: () => undefined };
  const asked = request(`https://${address}/api/cluster?links=false`, options, async (response) => {
    try {
      const { nodes } = JSON.parse(await new Response(response).text()) as {
        nodes: { state: string }[];
      };
      resolve(nodes.filter(({ state }) => state === "reachable").length);
    } catch (error) {
      resolve(String(error));
    }
  });
  asked.on("error", (error) => resolve(error.message));
  asked.setTimeout(5_000, () => asked.destroy(new Error("no answer within 5 s")));
  asked.end();
  return promise;
}
