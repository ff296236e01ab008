import assert from "node:assert/strict";
import { join } from "node:path";
import { startCommand } from "../cli/start_command.ts";
import { agent } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { type Home, tempHome } from "../support/home.ts";

/** A guardian that misses the heartbeats of its worker ends everything within 15 s. */
const nothingLeftWithinMs = 20_000;

/** Processes with this home in their environment. */
async function processesOf(home: Home): Promise<{ pid: number; line: string }[]> {
  const found = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const environment = await Deno.readTextFile(`/proc/${name}/environ`);
      if (!environment.includes(home.path)) continue;
      const line = (await Deno.readTextFile(`/proc/${name}/cmdline`)).replaceAll("\0", " ");
      found.push({ pid: Number(name), line });
    } catch {
      continue; // It has ended meanwhile.
    }
  }
  return found;
}

async function assertNothingLeft(home: Home): Promise<void> {
  await eventually(nothingLeftWithinMs, async () => {
    const left = await processesOf(home);
    assert.deepEqual(left, []);
    return true;
  });
}

const linux = { ignore: Deno.build.os !== "linux" };

Deno.test({
  name: "the demo runs its tasks, shows what ran where, and leaves nothing behind",
  ...linux,
  async fn() {
    await using home = await tempHome();
    // The demo must ignore the user's own settings.
    const env = {
      AGENT_PEER_INSECURE: "perhaps",
      AGENT_COORDINATOR_PORT: "1",
      AGENT_WORKER_ID: "x",
    };
    const { code, stdout, stderr } = await agent.run(["demo"], { home, env });
    assert.equal(code, 0, stderr);

    for (let part = 1; part <= 12; part++) {
      assert.match(stderr, new RegExp(`part +${part}: \\d+ primes`), "followed live");
    }
    assert.match(stderr, /try 2: worked/);
    assert.match(stdout, /12 parts +alpha \d+, beta \d+ +12 .* 6057 primes/);
    assert.match(stdout, /fails once +(alpha|beta).* 2 .*second attempt/);
    assert.match(stdout, /sleeps long +(alpha|beta|-).*cancelled/);
    assert.match(stdout, /makes a file +(alpha|beta).*checksum right/);
    const table = stdout.split("\n\n").find((part) => /^\s*WORK /.test(part))!;
    for (const line of table.split("\n")) assert.ok(line.length <= 80, `cut at 80: ${line}`);
    assert.match(stdout, /mutually authenticated/);
    assert.match(stdout, /alpha as \S*alpha.* beta as \S*beta/);
    assert.match(stdout, /Try next:\n(.+\n){3}/);
    assert.deepEqual([...Deno.readDirSync(join(home.path, "tmp"))], []);
    await assertNothingLeft(home);
  },
});

Deno.test({
  name: "the demo cleans up when SIGINT interrupts its tasks",
  ...linux,
  async fn() {
    await using home = await tempHome();
    await using demo = startCommand(home, "demo");
    await eventually(30_000, () => /part +\d+: \d+ primes/.test(demo.said()));
    demo.kill("SIGINT");
    assert.equal(await demo.code, 130, demo.said());
    assert.deepEqual([...Deno.readDirSync(join(home.path, "tmp"))], []);
    await assertNothingLeft(home);
  },
});

Deno.test({
  name: "the demo leaves no process behind even when it is killed",
  ...linux,
  async fn() {
    await using home = await tempHome();
    await using demo = startCommand(home, "demo");
    await eventually(30_000, () => /part +\d+: \d+ primes/.test(demo.said()));
    demo.kill("SIGKILL");
    await assertNothingLeft(home);
  },
});

Deno.test({
  name: "demo --stay keeps running until it is told to end, and its printed commands work",
  ...linux,
  async fn() {
    await using home = await tempHome();
    await using demo = startCommand(home, "demo", "--stay");
    const config = await eventually(
      60_000,
      () => demo.said().match(/export AGENT_CONFIG=(\S+)\n(?:.*\n){3}/)?.[1],
    );
    const env = { AGENT_CONFIG: config };
    const workers = await agent.run(["workers", "list"], { home, env });
    assert.match(workers.stdout, /alpha +healthy/, workers.stderr);
    const task = await agent.run(["submit", "--follow", "--", "echo", "hello"], { home, env });
    assert.deepEqual([task.code, task.stdout], [0, "hello\n"]);
    const [url] = demo.said().match(/https:\/\/\S+\?token=\S+/) ?? [];
    const page = await new Deno.Command("curl", { args: ["-ksS", "-D", "-", url!] }).output();
    assert.match(new TextDecoder().decode(page.stdout), /^HTTP\/1\.1 200.*set-cookie: /is);
    demo.kill("SIGTERM");
    assert.equal(await demo.code, 143);
    assert.deepEqual([...Deno.readDirSync(join(home.path, "tmp"))], []);
    await assertNothingLeft(home);
  },
});

Deno.test({
  name: "the demo fails when one of its roles ends, and cleans up",
  ...linux,
  async fn() {
    await using home = await tempHome();
    await using demo = startCommand(home, "demo", "--stay");
    await eventually(60_000, () => demo.said().includes("export AGENT_CONFIG="));
    const worker = (await processesOf(home)).find(({ line }) => / worker .*id=beta/.test(line));
    Deno.kill(worker!.pid, "SIGKILL");
    assert.equal(await demo.code, 1);
    assert.match(demo.said(), /"agent worker .*id=beta.*" ended/);
    assert.deepEqual([...Deno.readDirSync(join(home.path, "tmp"))], []);
    await assertNothingLeft(home);
  },
});
