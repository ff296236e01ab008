import { dirname, join } from "node:path";
import { agent } from "../support/agent.ts";
import { tempHome } from "../support/home.ts";
import { lineStream } from "../support/lines.ts";
import { type Bench, type BenchOptions, cpuSeconds, type Figure, median } from "./report.ts";

/** Requests over HTTPS with kept-alive connections, against the least server of node:https. */
export const bench: Bench = {
  name: "node",
  what: "GET /api/health and /api/cluster over HTTPS keep-alive",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    await using home = await tempHome();
    const { code, stderr } = await agent.run(["tls", "init"], { home });
    if (code !== 0) throw new Error(stderr);
    await using node = await agent.start("node", ["--port=0", "--node.health-port=0"], { home });
    const ca = join(home.tls, "ca-bundle.crt");
    const files = [join(home.tls, "server.crt"), join(home.tls, "server.key"), ca];
    const bare = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        new URL("bare_https.ts", import.meta.url).pathname,
        ...files,
      ],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    try {
      const lines = bare.stdout.pipeThrough(lineStream()).getReader();
      const barePort = Number((await lines.read()).value);
      const port = Number(node.address.split(":").at(-1));
      const token = Deno.readTextFileSync(join(dirname(home.tls), "token")).trim();
      const caText = Deno.readTextFileSync(ca);
      const rounds = quick ? 2 : 7;
      const seconds = quick ? 0.5 : 2;
      for (const path of ["/api/health", "/api/cluster"]) {
        const ours: Load[] = [];
        const theirs: Load[] = [];
        for (let round = 0; round < rounds; round++) {
          ours.push(await load(port, path, token, caText, seconds, node.pid));
          theirs.push(await load(barePort, path, token, caText, seconds, bare.pid));
        }
        const cpu = (loads: Load[]) => median(loads.map(({ cpuMs }) => cpuMs));
        const rate = (loads: Load[]) => median(loads.map(({ perSecond }) => perSecond));
        yield {
          name: `GET ${path}`,
          measured: `${cpu(ours).toFixed(3)} ms of CPU a request, ${Math.round(rate(ours))}/s`,
          reference: `${cpu(theirs).toFixed(3)} ms, ${Math.round(rate(theirs))}/s on ` +
            `node:https of Deno ${Deno.version.deno}`,
          // CPU time, because requests per second also measure the client and everything else here.
          ratio: cpu(theirs) / cpu(ours),
          target: { atLeast: 0.7 },
          notes: [
            `median of ${rounds} rounds of ${seconds} s, in turns, ${connections} connections`,
          ],
        };
      }
    } finally {
      bare.kill("SIGKILL");
      await bare.status;
    }
  },
};

const connections = 8;

interface Load {
  perSecond: number;
  /** CPU time of the server for each request. */
  cpuMs: number;
}

async function load(
  port: number,
  path: string,
  token: string,
  ca: string,
  seconds: number,
  pid: number,
): Promise<Load> {
  const request = new TextEncoder().encode(
    `GET ${path} HTTP/1.1\r\nhost: localhost:${port}\r\nauthorization: Bearer ${token}\r\n\r\n`,
  );
  const open = await Promise.all(
    Array.from(
      { length: connections },
      () => Deno.connectTls({ hostname: "localhost", port, caCerts: [ca] }),
    ),
  );
  let count = 0;
  const cpu = await cpuSeconds(pid);
  const start = performance.now();
  await Promise.all(open.map(async (connection) => {
    const buffer = new Uint8Array(64 * 1024);
    const decoder = new TextDecoder("latin1");
    while (performance.now() - start < seconds * 1000) {
      await connection.write(request);
      let text = "";
      for (let whole = Infinity; text.length < whole;) {
        const length = await connection.read(buffer);
        if (length === null) throw new Error("The server hung up");
        text += decoder.decode(buffer.subarray(0, length));
        const head = text.indexOf("\r\n\r\n");
        if (head < 0) continue;
        if (!text.startsWith("HTTP/1.1 200")) throw new Error(text);
        whole = head + 4 + Number(/content-length: (\d+)/i.exec(text)![1]);
      }
      count++;
    }
  }));
  const elapsed = performance.now() - start;
  for (const connection of open) connection.close();
  return { perSecond: count / elapsed * 1000, cpuMs: (await cpuSeconds(pid) - cpu) * 1000 / count };
}
