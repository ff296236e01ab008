import { agent } from "../support/agent.ts";
import { startCluster } from "./cluster.ts";
import { type Bench, type BenchOptions, type Figure, median } from "./report.ts";

/** Commands as a user types them: whole processes that connect over mTLS. */
const measured = {
  "workers list": ["workers", "list"],
  "task list": ["task", "list"],
  "completion of task ids": ["completion", "reply", "--", "task", "show", ""],
  "submit": ["submit", "--", "true"],
  "submit --follow": ["submit", "--follow", "--", "true"],
};

export const bench: Bench = {
  name: "commands",
  what: "client commands as whole processes, against `agent version`",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const rounds = quick ? 5 : 30;
    await using cluster = await startCluster({ slots: 4, tls: true });
    const port = cluster.coordinator.address.split(":").at(-1);
    const env = {
      AGENT_PEER_INSECURE: "false",
      AGENT_CLIENT_COORDINATORS: `127.0.0.1:${port}`,
    };
    const times = new Map<string, number[]>(
      ["version", ...Object.keys(measured)].map((name) => [name, []]),
    );
    const run = async (name: string, args: string[]) => {
      const start = performance.now();
      const { code, stderr } = await agent.run(args, { home: cluster.home, env });
      times.get(name)!.push(performance.now() - start);
      if (code !== 0) throw new Error(`agent ${args.join(" ")}: ${stderr}`);
    };
    // In turns, so that other load affects all of them.
    for (let round = 0; round < rounds; round++) {
      await run("version", ["version"]);
      for (const [name, args] of Object.entries(measured)) await run(name, args);
    }
    const reference = median(times.get("version")!);
    for (const name of Object.keys(measured)) {
      const ms = median(times.get(name)!);
      yield {
        name: `agent ${name}`,
        measured: `${ms.toFixed(0)} ms`,
        reference: `${reference.toFixed(0)} ms for agent version`,
        ratio: ms / reference,
        target: { atMost: name === "submit --follow" ? 3 : 2.5 },
        notes: [`median of ${rounds} runs each, in turns`],
      };
    }
  },
};
