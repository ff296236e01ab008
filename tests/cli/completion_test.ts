/** Completion of what only a coordinator knows, in the shells themselves. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { startCluster } from "../support/cluster.ts";
import { component, programs } from "../support/component.ts";
import { eventually, freePort } from "../support/eventually.ts";
import { tempHome } from "../support/home.ts";

Deno.test("ids of tasks and workers and state keys are completed, with descriptions", async () => {
  await using cluster = await startCluster();
  await using home = await tempHome();
  await cluster.startWorker({ id: "gpu1", slots: 2 });
  const array = await cluster.submit("true", {}, 3);
  await cluster.finished(array);
  const open = await cluster.submit("true # later", { selector: { never: "there" } });
  const dial = ["--coordinators", cluster.coordinator.address];
  const put = ["state", "put", ...dial, "build"];
  for (const key of ["last:commit", "x$(touch pwned)"]) await agent.run([...put, key, "1"]);

  // On a busy machine an answer may come too late, and then there is none.
  const after = (words: string[], check: (reply: string) => void) =>
    eventually(60_000, async () => {
      const ran = await agent.run(["completion", "reply", "--", ...words], { home });
      assert.equal(ran.stderr, "");
      check(ran.stdout);
      return true;
    });
  await after(["task", "show", ...dial, ""], (tasks) => {
    assert.match(tasks, /^@last\tThe newest\n/);
    assert.match(tasks, new RegExp(`^${open}\tqueued, \\S+ old: .*true # later`, "m"));
    assert.match(tasks, new RegExp(`^${array}\tarray, `, "m"));
  });
  await after(["task", "show", ...dial, `${array}.1`], (reply) => {
    assert.match(reply, new RegExp(`^${array}\\.1\tsucceeded`));
  });
  await after(["task", "cancel", ...dial, ""], (reply) => {
    assert.ok(reply.includes(open) && !reply.includes(array), reply);
  });
  await after(["task", "retry", ...dial, ""], (reply) => {
    assert.ok(reply.includes(array) && !reply.includes(open), reply);
  });
  const worker = "gpu1\thealthy, 0 of 2 slots used\n";
  await after(["workers", "drain", ...dial, "g"], (reply) => assert.equal(reply, worker));
  await after(["submit", ...dial, "--worker=g"], (reply) => {
    assert.equal(reply, `--worker=${worker}`);
  });
  await after(["state", "get", ...dial, "build", "last"], (reply) => {
    assert.match(reply, /^last:commit\trevision 1, /);
  });
  // From source each answer takes seconds, and the shells ask many times.
  if (agent.compiled) await inShells(cluster.coordinator.address);
});

Deno.test("where nobody answers, completion prints nothing", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  for (const more of [[], ["--peer.insecure=maybe"], ["--config=/nothing"]]) {
    const dial = ["--coordinators", `127.0.0.1:${freePort()}`, ...more];
    const ran = await agent.run(["completion", "reply", "--", "task", "show", ...dial, ""], {
      home,
    });
    assert.deepEqual([ran.code, ran.stdout, ran.stderr], [0, "", ""]);
  }
});

/** Presses Tab in each shell that is here, then has the shell print the line as it understands it. */
async function inShells(coordinator: string): Promise<void> {
  await using home = await tempHome();
  const bin = join(home.path, "bin");
  const { command, args } = agent.command();
  const line = [command, ...args].map((word) => `'${word}'`).join(" ");
  await Deno.mkdir(bin);
  await Deno.writeTextFile(join(bin, "agent"), `#!/bin/sh\nexec ${line} "$@"\n`, { mode: 0o755 });
  const env = {
    ...home.env,
    PATH: `${bin}:${home.env.PATH}`,
    TERM: "xterm",
    AGENT_CLIENT_COORDINATORS: coordinator,
  };
  const cases = [
    ["agent workers drain g", "agent workers drain gpu1"],
    ["agent submit --worker=g", "agent submit --worker=gpu1"],
    ["agent task logs @l", "agent task logs @last"],
    ["agent state get build la", "agent state get build last:commit"],
    ["agent state get build x", "agent state get build x$(touch pwned)"],
    ["agent config show --log.level=de", "agent config show --log.level=debug"],
  ] as const;
  for (const [shell, ...options] of [["bash", "--norc", "-i"], ["zsh", "-f", "-i"]] as const) {
    const { ignore } = await component(`completion in ${shell}`, programs(shell, "script"));
    if (ignore) continue;
    const script = (await agent.run(["completion", shell])).stdout;
    await Deno.writeTextFile(join(home.path, `agent.${shell}`), script);
    await using terminal = openTerminal([shell, ...options], home.path, env);
    await terminal.type(`. ./agent.${shell}; echo so""urced\r`, "sourced");
    for (const [typed, wanted] of cases) await terminal.tab(typed, wanted);
    // What is common to both is complete; then Tab lists them.
    if (shell === "bash") await terminal.list("agent state get build ", "last:commit  (revision 1");
  }
  const { ignore } = await component("completion in fish", programs("fish"));
  if (ignore) return;
  await Deno.writeTextFile(
    join(home.path, "agent.fish"),
    (await agent.run(["completion", "fish"])).stdout,
  );
  for (const [typed, wanted] of cases) {
    await eventually(60_000, async () => {
      const ran = await new Deno.Command("fish", {
        args: ["--no-config", "-c", `source agent.fish; complete -C '${typed}'`],
        cwd: home.path,
        env,
        clearEnv: true,
      }).output();
      const out = new TextDecoder().decode(ran.stdout);
      const word = wanted.slice(typed.lastIndexOf(" ") + 1);
      assert.ok(out.startsWith(word), `${typed}: ${out}${new TextDecoder().decode(ran.stderr)}`);
      return true;
    });
  }
  await assert.rejects(Deno.stat(join(home.path, "pwned")), Deno.errors.NotFound);
}

/** A shell in a terminal of its own, by script(1). */
function openTerminal(argv: string[], cwd: string, env: Record<string, string>) {
  const child = new Deno.Command("script", {
    args: ["-qfc", argv.join(" "), "/dev/null"],
    cwd,
    env,
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let shown = "";
  const over = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) shown += text;
  })();
  const writer = child.stdin.getWriter();
  const write = (text: string) => writer.write(new TextEncoder().encode(text));
  let round = 0;
  const type = async (keys: string, wanted: string) => {
    const from = shown.length;
    await write(keys);
    await eventually(30_000, () => {
      if (shown.slice(from).includes(wanted)) return true;
      throw new Error(`No "${wanted}" in ${JSON.stringify(shown.slice(from))}`);
    });
  };
  // The answer of a busy machine may be late, and then there is none; so Tab is pressed again.
  const again = (press: () => Promise<void>) =>
    eventually(60_000, async () => {
      await press();
      return true;
    });
  return {
    type,
    tab: (typed: string, wanted: string) =>
      again(async () => {
        const mark = `round${++round}:`;
        // Ctrl-A goes to the start of the line.
        const from = shown.length;
        await type(`${typed}\t\x01printf '%s ' ro""und${round}: \r`, mark);
        await eventually(5_000, () => {
          const seen = shown.slice(shown.indexOf(mark, from));
          assert.ok(seen.startsWith(`${mark} ${wanted} `), seen);
          return true;
        });
      }),
    list: (typed: string, wanted: string) =>
      again(async () => {
        await type(`${typed}\t\t`, wanted);
        await type('\x15echo li""sted\r', "listed");
      }),
    async [Symbol.asyncDispose]() {
      await write("\x15exit\r");
      await writer.close();
      await over;
      await child.status;
    },
  };
}
