import { agent } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";
import { type Bench, type BenchOptions, type Figure, median, Unavailable } from "./report.ts";

/** `tls deploy` to hosts in network namespaces: they all share the processors of this machine. */
export const bench: Bench = {
  name: "deploy",
  what: "from bare sshd to a mesh, and a second run that changes nothing",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    for (const check of hostsCheck) {
      const reason = await check();
      if (reason !== undefined) throw new Unavailable(`deploy: ${reason}`);
    }
    if (!agent.compiled) throw new Unavailable("deploy: --push-binary needs the executable");
    yield await fromBareSshd(quick ? 3 : 10);
    yield await secondRun(quick ? 5 : 30, quick ? 1 : 3);
  },
};

const own = () => agent.command().command;

async function fromBareSshd(size: number): Promise<Figure> {
  const peers = Array.from({ length: size }, (_, at) => `p${at}`);
  await using hosts = await startHosts(["a", ...peers]);
  const [a, ...others] = hosts.list as [Host, ...Host[]];
  await Promise.all(others.map((host) => host.ok("rm /usr/local/bin/agent")));
  await a.ok(`${own()} tls init`);
  const names = peers.map((name) => `${name}.lan`).join(" ");
  const start = performance.now();
  await a.ok(`${own()} tls deploy --batch --push-binary --service node ${names}`);
  const deployed = performance.now() - start;
  for (const host of [a, others.at(-1)!]) {
    await eventually(60_000, async () => {
      const { nodes } = JSON.parse(await host.ok("agent cluster status --json")) as {
        nodes: { state: string; warnings: string[] }[];
      };
      const green = nodes.filter(({ state, warnings }) =>
        state === "reachable" && warnings.length === 0
      );
      return green.length === size + 1;
    });
  }
  const took = performance.now() - start;
  await Promise.all(hosts.list.map((host) => host.ok("agent service uninstall node")));
  return {
    name: `${size} hosts: from bare sshd to a mesh that is all green`,
    measured: `${(took / 1000).toFixed(1)} s`,
    reference: `${size * 6} s`,
    ratio: took / (size * 6_000),
    target: { atMost: 1 },
    notes: [`tls deploy took ${(deployed / 1000).toFixed(1)} s of them`],
  };
}

async function secondRun(size: number, rounds: number): Promise<Figure> {
  const peers = Array.from({ length: size }, (_, at) => `p${at}`);
  await using hosts = await startHosts(["a", ...peers]);
  const [a, ...others] = hosts.list as [Host, ...Host[]];
  await Promise.all(others.map((host) => host.ok("rm /usr/local/bin/agent")));
  await a.ok(`${own()} tls init`);
  const deploy = `${own()} tls deploy --batch --push-binary ${
    peers.map((name) => `${name}.lan`).join(" ")
  }`;
  await a.ok(deploy);
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    const said = await a.ok(deploy);
    times.push(performance.now() - start);
    const unchanged = said.match(/ unchanged /g)?.length;
    if (unchanged !== size) throw new Error(`${unchanged} of ${size} are unchanged:\n${said}`);
  }
  const limitMs = size * 5_000 / 30;
  return {
    name: `${size} hosts: a run that changes nothing`,
    measured: `${(median(times) / 1000).toFixed(2)} s`,
    reference: `${(limitMs / 1000).toFixed(2)} s`,
    ratio: median(times) / limitMs,
    target: { atMost: 1 },
    notes: [`median of ${rounds}; the hosts share ${navigator.hardwareConcurrency} cores`],
  };
}
