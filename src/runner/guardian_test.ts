import assert from "node:assert/strict";
import { eventually, slowness } from "../../tests/support/eventually.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { systemClock } from "../base/clock.ts";
import { randomHex } from "./folders.ts";
import { Guardian } from "./guardian.ts";
import { type GuardianCommand, guardianCommands } from "./guardian_protocol.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { attemptVariable, signal } from "./leftover_processes.ts";

const loop = new URL("./guardian_loop.ts", import.meta.url).href;
const self: GuardianCommand = {
  command: Deno.execPath(),
  args: [
    "eval",
    "--no-config",
    `import { guard } from "${loop}";
    const [mark, silenceMs, cgroups, worker] = Deno.args;
    await guard(mark, Number(silenceMs), cgroups, Number(worker));
    Deno.exit(0);`,
  ],
};

/** Every way that this system has to start a guardian. */
function everyGuardian(mark: string, silenceMs: number, cgroups?: string): GuardianCommand[] {
  return guardianCommands({ mark, silenceMs, self, cgroups });
}

function sleeper(mark?: string): Deno.ChildProcess {
  return new Deno.Command("sleep", {
    args: ["100"],
    detached: true,
    stdin: "null",
    stdout: "null",
    ...(mark === undefined ? {} : { env: { [attemptVariable]: mark } }),
  }).spawn();
}

async function withGuardian(
  command: GuardianCommand,
  check: (guardian: {
    say: (line: string) => Promise<void>;
    hear: () => Promise<string>;
    pid: number;
    close: () => Promise<void>;
    ended: Promise<Deno.CommandStatus>;
  }) => Promise<void>,
): Promise<void> {
  const child = new Deno.Command(command.command, {
    args: command.args,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    await check({
      say: (line) => writer.write(new TextEncoder().encode(line + "\n")),
      hear: async () => (await reader.read()).value ?? "",
      pid: child.pid,
      close: () => writer.close(),
      ended: child.status,
    });
  } finally {
    signal(child.pid, "SIGKILL");
    await child.status;
    await reader.cancel();
    await writer.close().catch(() => {});
  }
}

for (const [how, end] of [["whose worker ends", "close"], ["that hears nothing", "wait"]]) {
  Deno.test(`a guardian ${how} ends groups, and what carries the mark, and nothing else`, async () => {
    const mark = `${randomHex(8)}.${randomHex(4)}.`;
    for (const command of everyGuardian(mark, 1_000)) {
      const [told, over, marked, foreign] = [
        sleeper(),
        sleeper(),
        sleeper(`${mark}t.1.1`),
        sleeper(`x${mark}t.1.1`),
      ];
      try {
        await withGuardian(command, async ({ say, hear, close, ended }) => {
          await say("b 1");
          assert.equal(await hear(), "b 1\n");
          await say(`+${told.pid} +${over.pid}`);
          await say(`-${over.pid}`);
          if (end === "close") await close();
          const since = performance.now();
          assert.equal(await hear(), "acted\n");
          // Its silence is a second; the rest is for a busy machine.
          assert.ok(
            performance.now() - since < 10_000 * slowness(),
            "it acts when its time has come",
          );
          await ended;
          assert.equal((await told.status).signal, "SIGKILL");
          assert.equal((await marked.status).signal, "SIGKILL");
        });
        for (const other of [over, foreign]) assert.ok(signal(other.pid, "SIGTERM"));
        assert.equal((await over.status).signal, "SIGTERM");
        assert.equal((await foreign.status).signal, "SIGTERM");
      } finally {
        for (const { pid } of [told, over, marked, foreign]) signal(pid, "SIGKILL");
      }
    }
  });
}

Deno.test("a guardian ends what is in cgroups, but in the worker's own", async () => {
  const mark = `${randomHex(8)}.${randomHex(4)}.`;
  const worker = Deno.pid;
  for (const at of everyGuardian(mark, 1_000, "").keys()) {
    await using folder = await temporaryFolder();
    const members: Record<string, string> = {
      one: "7\n8\n",
      none: "",
      own: `8\n${worker}\n`,
      near: `${worker}1\n`,
    };
    for (const [name, pids] of Object.entries(members)) {
      await Deno.mkdir(`${folder.path}/${name}`);
      await Deno.writeTextFile(`${folder.path}/${name}/cgroup.procs`, pids);
      await Deno.writeTextFile(`${folder.path}/${name}/cgroup.kill`, "");
    }
    const command = everyGuardian(mark, 1_000, folder.path)[at]!;
    await withGuardian(command, async ({ close, ended }) => {
      await close();
      await ended;
    });
    for (const name of Object.keys(members)) {
      const told = (await Deno.readTextFile(`${folder.path}/${name}/cgroup.kill`)).trim();
      assert.equal(told, name === "own" ? "" : "1", `${command.command}: ${name}`);
    }
  }
});

Deno.test("a guardian stays as long as it hears something, whatever signals it gets", async () => {
  for (const command of everyGuardian(`${randomHex(8)}.${randomHex(4)}.`, 1_000)) {
    await withGuardian(command, async ({ say, hear, pid, close, ended }) => {
      await say("b 1");
      await hear();
      for (const [at, name] of (["SIGHUP", "SIGINT", "SIGTERM"] as const).entries()) {
        const n = at + 2;
        assert.ok(signal(pid, name));
        // In all longer than its silence.
        await new Promise((resolve) => setTimeout(resolve, 500));
        await say(`b ${n}`);
        assert.equal(await hear(), `b ${n}\n`);
      }
      await close();
      assert.equal((await ended).signal, null);
    });
  }
});

Deno.test("a guardian that replaces another knows the groups of before, and not those that ended", async () => {
  const mark = `${randomHex(8)}.${randomHex(4)}.`;
  for (const command of everyGuardian(mark, 4_000)) {
    // Without cgroups and without a mark, a process is known by its group alone.
    const [running, over] = [sleeper(), sleeper()];
    try {
      {
        await using guardian = new Guardian({
          commands: [command],
          echoMs: 2_500,
          apart: (start) => start(),
          clock: systemClock,
          log: silentLog,
          acted: () => {},
        });
        await guardian.ready();
        for (const { pid } of [running, over]) guardian.add(pid);
        guardian.remove(over.pid);
        const first = guardian.pid!;
        signal(first, "SIGKILL");
        await eventually(10_000, () => guardian.isReady && guardian.pid !== first);
        assert.equal(signal(running.pid, "SIGCONT"), true);
      }
      const late = setTimeout(() => signal(running.pid, "SIGTERM"), 10_000);
      assert.equal((await running.status).signal, "SIGKILL", command.command);
      clearTimeout(late);
      signal(over.pid, "SIGTERM");
      assert.equal((await over.status).signal, "SIGTERM", command.command);
    } finally {
      for (const { pid } of [running, over]) signal(pid, "SIGKILL");
    }
  }
});

Deno.test("a guardian is a shell where there is one, else this program", () => {
  const at = (...paths: string[]) =>
    guardianCommands(
      {
        mark: "m",
        silenceMs: 4_000,
        self: { command: "agent", args: ["guardian"] },
        cgroups: undefined,
      },
      (path) => paths.includes(path),
    ).map(({ command }) => command);
  assert.deepEqual(at("/usr/bin/bash", "/usr/bin/grep"), ["/usr/bin/bash", "agent"]);
  assert.deepEqual(at("/bin/busybox", "/bin/grep"), ["/bin/busybox", "agent"]);
  assert.deepEqual(at("/usr/bin/bash"), ["agent"]);
});

Deno.test("each guardian gets the limit in its own unit, and acts neither earlier nor much later", async () => {
  const limits = everyGuardian("m", 4_000).map(({ args }) => args.at(-3));
  assert.deepEqual(new Set(limits), new Set(["4", "4000"]));
  assert.equal(limits.at(-1), "4000", "this program waits milliseconds");
  for (const command of everyGuardian(`${randomHex(8)}.${randomHex(4)}.`, 2_000)) {
    await withGuardian(command, async ({ say, hear, ended }) => {
      await say("b 1");
      assert.equal(await hear(), "b 1\n");
      const since = performance.now();
      assert.equal(await hear(), "acted\n");
      const silentMs = performance.now() - since;
      assert.ok(
        silentMs > 1_800 && silentMs < 4_000 * slowness(),
        `${command.command}: ${silentMs} ms`,
      );
      await ended;
    });
  }
});
