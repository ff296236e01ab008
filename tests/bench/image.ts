import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { containersCheck, run, startContainers } from "../support/containers.ts";
import { tempHome } from "../support/home.ts";
import { type Bench, type BenchOptions, type Figure, median, Unavailable } from "./report.ts";

const root = join(import.meta.dirname!, "../..");
const image = "localhost/agent:bench";

/** Size of the image, and how long a container takes until its node is ready. */
export const bench: Bench = {
  name: "image",
  what: "the image, and a node in a container against the bare node",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    for (const check of [...containersCheck, compiled]) {
      const missing = await check();
      if (missing !== undefined) throw new Unavailable(`the image: ${missing}`);
    }
    await using containers = await startContainers();
    const built = await run(join(root, "scripts/image-build"), [image], {
      ...containers.env,
      BUILD_ARGS: `BASE=${containers.base} EXECUTABLE=dist/agent`,
      ENGINE_OPTIONS: "--pull=never",
    });
    if (built.code !== 0) throw new Error(built.stderr);
    const inspect = ["image", "inspect", "-f", "{{.Size}}", image];
    const bytes = Number((await run("podman", inspect, containers.env)).stdout);
    yield {
      name: "size",
      measured: `${(bytes / 1e6).toFixed(0)} MB`,
      reference: "130 MB",
      ratio: bytes / 130e6,
      target: { atMost: 1 },
      notes: ["on a base of busybox, tini and the libraries; Debian's slim adds about 60 MB"],
    };
    const rounds = quick ? 3 : 9;
    const [inside, bare]: [number[], number[]] = [[], []];
    // In turns, so that other load affects both.
    for (let round = 0; round < rounds; round++) {
      inside.push(await containerMs(containers.env));
      bare.push(await bareMs());
    }
    yield {
      name: "start to ready",
      measured: `${median(inside).toFixed(0)} ms in a container`,
      reference: `${median(bare).toFixed(0)} ms without`,
      ratio: median(inside) / median(bare),
      target: { atMost: 2 },
      notes: [`median of ${rounds} starts each, in turns; a node with its state made before`],
    };
  },
};

const compiled = () => Deno.env.has("AGENT_UNDER_TEST") ? undefined : "needs dist/agent";

const flags = ["node", "--node.port=0", "--node.health-port=0", "--node.mdns=false"];

/** From the engine's start until the ready line is in the container's output. */
async function containerMs(env: Record<string, string>): Promise<number> {
  const volumes = ["-v", "bench-state:/etc/agent", "-v", "bench-data:/var/lib/agent"];
  const how = ["--rm", "--pull=never", "--network=host", "--no-healthcheck", ...volumes];
  const name = `bench-${crypto.randomUUID()}`;
  const start = performance.now();
  const child = new Deno.Command("podman", {
    args: ["run", "--name", name, ...how, image, ...flags],
    env,
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const ready = Promise.withResolvers<number>();
  const over = (async () => {
    let said = "";
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (/"msg":"ready"|(^|\n)ready role=/.test(said)) ready.resolve(performance.now());
    }
    ready.reject(new Error(`The container was never ready: ${said}`));
  })();
  const took = await ready.promise - start;
  await run("podman", ["kill", name], env);
  await over;
  await child.status;
  return took;
}

async function bareMs(): Promise<number> {
  await using home = await tempHome();
  // The container's node has its state already: this one gets it here.
  await (await agent.start("node", flags.slice(1), { home })).stop();
  const start = performance.now();
  await using node = await agent.start("node", flags.slice(1), { home });
  void node;
  return performance.now() - start;
}
