import { dirname, join } from "node:path";
import { agent, type Running } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { type Home, tempHome } from "../support/home.ts";
import { lineStream } from "../support/lines.ts";
import type { Watch } from "./mesh_watch.ts";
import {
  type Bench,
  type BenchOptions,
  cpuSeconds,
  type Figure,
  median,
  memoryBytes,
  mib,
  Unavailable,
} from "./report.ts";

const tickMs = 5_000;
/** Until a node has released what its start needed, which it does once after some seconds of rest. */
const settleMs = 30_000;
/** Long enough for load averages and latencies to be told, as they are now and then. */
const watchMs = 30_000;

/** Many nodes on one machine, in a network namespace of their own, without multicast. */
export const bench: Bench = {
  name: "mesh",
  what: "nodes of one cluster: cold start, a new one, a killed one, bytes, idle cost",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    if (Deno.build.os !== "linux" || Deno.uid() !== 0) throw new Unavailable("mesh: needs root");
    const sizes = quick ? [3, 5] : [5, 20, 50];
    const perPair: number[] = [];
    for (const size of sizes) {
      await using cluster = await startCluster(size);
      const started = performance.now();
      await cluster.allSee(size);
      yield {
        name: `${size} nodes: all see all from a cold start`,
        measured: `${((performance.now() - started) / 1000).toFixed(1)} s after the last was up`,
        reference: "3 ticks",
        ratio: (performance.now() - started) / (3 * tickMs),
        target: { atMost: 1 },
      };
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      const bytes = await cluster.bytes();
      const cpu = await Promise.all(cluster.nodes.map(({ pid }) => cpuSeconds(pid)));
      await new Promise((resolve) => setTimeout(resolve, watchMs));
      const sent = (await cluster.bytes() - bytes) / size / (watchMs / tickMs);
      perPair.push(sent / (size - 1));
      const after = await Promise.all(cluster.nodes.map(({ pid }) => cpuSeconds(pid)));
      const share = median(after.map((each, at) => each - cpu[at]!)) / (watchMs / 1000);
      const memory = median(await Promise.all(cluster.nodes.map(({ pid }) => memoryBytes(pid))));
      yield {
        name: `${size} nodes: bytes for each node, other node and tick`,
        measured: `${Math.round(perPair.at(-1)!)} bytes, with TCP and IP`,
        reference: `${Math.round(perPair[0]!)} bytes with ${sizes[0]} nodes`,
        ratio: perPair.at(-1)! / perPair[0]!,
        target: { atMost: 1.2 },
      };
      yield {
        name: `${size} nodes: an idle node`,
        measured: `${(share * 100).toFixed(2)} % of a core, ${mib(memory)}`,
        reference: "0.5 % of a core for ten others, or for fewer, 90 MiB",
        ratio: Math.max(share / (0.005 * Math.max(1, (size - 1) / 10)), memory / (90 * 1024 ** 2)),
        target: { atMost: 1 },
      };
      yield await joining(cluster, size);
      yield await dying(cluster, size);
    }
  },
};

async function joining(cluster: Cluster, size: number): Promise<Figure> {
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    await using _node = await cluster.add();
    const start = performance.now();
    await cluster.allSee(size + 1, true);
    times.push(performance.now() - start);
    await _node.stop();
    await cluster.forget();
  }
  return {
    name: `${size} nodes: a new one is seen by all`,
    measured: `${(median(times) / 1000).toFixed(2)} s after it was up, median of ${times.length}`,
    reference: "2 s",
    ratio: median(times) / 2_000,
    target: { atMost: 1 },
  };
}

async function dying(cluster: Cluster, size: number): Promise<Figure> {
  const victim = cluster.nodes.at(-1)!;
  cluster.nodes.pop();
  const start = performance.now();
  victim.kill();
  await victim.exit;
  await cluster.allSee(size - 1, true);
  return {
    name: `${size} nodes: a killed one is red on all`,
    measured: `${((performance.now() - start) / 1000).toFixed(1)} s`,
    reference: "10 s",
    ratio: (performance.now() - start) / 10_000,
    target: { atMost: 1 },
  };
}

interface Cluster extends AsyncDisposable {
  nodes: Running[];
  add(): Promise<Running>;
  /** Waits until each node sees so many reachable ones, itself included. */
  allSee(count: number, quickly?: boolean): Promise<void>;
  /** Removes what is unreachable from all lists. */
  forget(): Promise<void>;
  /** Bytes that crossed the namespace so far. */
  bytes(): Promise<number>;
}

async function startCluster(size: number): Promise<Cluster> {
  await using undo = new AsyncDisposableStack();
  const namespace = `agent-bench-${crypto.randomUUID().slice(0, 8)}`;
  await run("ip", "netns", "add", namespace);
  undo.defer(async () => void await run("ip", "netns", "delete", namespace));
  await run("ip", "-n", namespace, "link", "set", "lo", "up");
  const through = ["ip", "netns", "exec", namespace];
  const first = undo.use(await tempHome());
  await agent.run(["tls", "init"], { home: first });
  const homes = new Map<Running, Home>();
  const start = async (home: Home, peer?: string) => {
    const args = ["--port=0", "--node.health-port=0", "--cluster=bench", "--log.level=warn"];
    if (peer !== undefined) args.push(`--peer=${peer}`);
    const node = await agent.start("node", args, { home, through });
    homes.set(node, home);
    return node;
  };
  const newHome = async () => {
    const home = await tempHome();
    await run("cp", "-rp", first.tls, dirname(home.tls));
    return home;
  };
  const nodes = [undo.use(await start(first))];
  let owned = undo;
  const add = async () => {
    const home = owned.use(await newHome());
    return owned.use(await start(home, nodes[0]!.address));
  };
  while (nodes.length < size) nodes.push(await add());
  const tokenOf = (node: Running) =>
    Deno.readTextFileSync(join(dirname(homes.get(node)!.tls), "token")).trim();
  const bundle = join(first.tls, "ca-bundle.crt");
  const watcher = undo.use(startWatcher(through));
  const call = async (node: Running, ...args: string[]) => {
    const auth = ["--cacert", bundle, "-H", `Authorization: Bearer ${tokenOf(node)}`];
    return await run(...through, "curl", "-sS", ...auth, ...args);
  };
  const clusterOf = async (node: Running) =>
    JSON.parse(await call(node, `https://${node.address}/api/cluster`)).nodes as {
      id: string;
      state: string;
    }[];
  const ends = undo.move();
  owned = ends;
  return {
    nodes,
    add,
    async allSee(count, quickly = false) {
      await watcher.ask({
        nodes: nodes.map((node) => ({ address: node.address, token: tokenOf(node) })),
        ca: await Deno.readTextFile(bundle),
        count,
        withinMs: quickly ? 30_000 : 120_000,
      });
    },
    async forget() {
      const id = await eventually(
        30_000,
        async () => (await clusterOf(nodes[0]!)).find(({ state }) => state === "unreachable")?.id,
      );
      await call(nodes[0]!, "-X", "DELETE", `https://${nodes[0]!.address}/api/cluster/nodes/${id}`);
    },
    async bytes() {
      const text = await run(...through, "cat", "/proc/net/dev");
      return Number(/lo:\s*(\d+)/.exec(text)![1]);
    },
    [Symbol.asyncDispose]: () => ends.disposeAsync(),
  };
}

/** See mesh_watch.ts. It has to be in the nodes' network namespace. */
function startWatcher(through: string[]) {
  const script = join(import.meta.dirname!, "mesh_watch.ts");
  const child = new Deno.Command(through[0]!, {
    args: [...through.slice(1), Deno.execPath(), "run", "-A", "--no-check", script],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const answers = child.stdout.pipeThrough(lineStream()).getReader();
  const input = child.stdin.getWriter();
  return {
    async ask(watch: Watch): Promise<void> {
      await input.write(new TextEncoder().encode(JSON.stringify(watch) + "\n"));
      const { value: late, done } = await answers.read();
      if (done) throw new Error("The process that looks at the nodes has ended");
      if (late !== "") throw new Error(late);
    },
    async [Symbol.asyncDispose]() {
      await input.close();
      await child.status;
    },
  };
}

async function run(...line: string[]): Promise<string> {
  const [command, ...args] = line;
  const { code, stdout, stderr } = await new Deno.Command(command!, { args }).output();
  if (code !== 0) throw new Error(`${line.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
