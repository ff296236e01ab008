/** scripts/image-run and its settings, on an engine that only notes what it is told. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { temporaryFolder } from "../support/temporary.ts";

const script = join(import.meta.dirname!, "../../scripts/image-run");

/** Containers "exist" as files; a started one is ready at once. */
const engine = `#!/bin/sh
echo "$*" >>"$LOG"
for name; do last=$name; done
case $1 in
  inspect)
    # As Docker does.
    [ -e "$STATE/$last" ] || { echo; exit 1; }
    case $3 in *Status}}) cat "$STATE/$last" ;; *) echo "shown $last" ;; esac ;;
  run)
    case " $* " in *' --entrypoint '*) exit 0 ;; esac
    while [ "$1" != --name ]; do shift; done
    echo running >"$STATE/$2" ;;
  start) echo running >"$STATE/$last" ;;
  stop) echo exited >"$STATE/$last" ;;
  rm) rm -f "$STATE/$last" ;;
  logs) echo 'ready role=node' ;;
  exec)
    case $* in *' token url') echo 'https://10.88.0.2:8765/?token=t' ;; *) echo "did $*" ;; esac ;;
esac
`;

async function withEngine(
  use: (
    run: (verb: string[], env?: Record<string, string>) => Promise<
      { code: number; stdout: string; stderr: string; calls: string[] }
    >,
    folder: string,
  ) => Promise<void>,
): Promise<void> {
  await using temporary = await temporaryFolder();
  const at = (name: string) => join(temporary.path, name);
  await Deno.writeTextFile(at("engine"), engine, { mode: 0o755 });
  await Deno.mkdir(at("state"));
  await Deno.mkdir(at("work"));
  await use(async (verb, env = {}) => {
    await Deno.writeTextFile(at("log"), "");
    const ran = await new Deno.Command(script, {
      args: verb,
      cwd: at("work"),
      clearEnv: true,
      env: {
        PATH: Deno.env.get("PATH")!,
        ENGINE: at("engine"),
        LOG: at("log"),
        STATE: at("state"),
        ...env,
      },
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    const calls = (await Deno.readTextFile(at("log"))).split("\n").filter((line) => line !== "");
    return { code: ran.code, stdout: text(ran.stdout), stderr: text(ran.stderr), calls };
  }, at("work"));
}

const volumes = "-v agent-node-state:/etc/agent -v agent-node-data:/var/lib/agent";
const role = "agent:latest node -H 0.0.0.0 --port";

Deno.test("each setting of image-run has its effect", async () => {
  const start = (name: string) => `run -d --name ${name} --restart unless-stopped`;
  const usual = `${start("agent-node")} ${volumes}`;
  for (
    const [env, wanted] of [
      [{}, `${usual} --hostname agent-node -p 127.0.0.1:8765:8765 ${role} 8765`],
      [
        { IMAGE: "a:1" },
        `${usual} --hostname agent-node -p 127.0.0.1:8765:8765 a:1 node -H 0.0.0.0 --port 8765`,
      ],
      [
        { NAME: "x" },
        `${start("x")} -v x-state:/etc/agent -v x-data:/var/lib/agent ` +
        `--hostname x -p 127.0.0.1:8765:8765 ${role} 8765`,
      ],
      [
        { PORT: "9000", HOST_BIND: "0.0.0.0" },
        `${usual} --hostname agent-node -p 0.0.0.0:9000:9000 ${role} 9000`,
      ],
      [{ NETWORK: "host" }, `${usual} --network host ${role} 8765`],
      [
        { NETWORK: "lab" },
        `${usual} --hostname agent-node -p 127.0.0.1:8765:8765 --network lab ${role} 8765`,
      ],
      [
        { NETWORK: "host", CLUSTER: "c" },
        `${usual} --network host -e AGENT_NODE_CLUSTER=c ${role} 8765`,
      ],
      [
        { NETWORK: "host", CLUSTER: "c", CLUSTER_ADDRESS: "gpu1:8765" },
        `${usual} --network host -e AGENT_NODE_ADVERTISE=gpu1:8765 -e AGENT_NODE_CLUSTER=c ` +
        `${role} 8765`,
      ],
      [
        { NETWORK: "host", STATE_VOLUME: "/srv/agent" },
        `${start("agent-node")} -v /srv/agent:/etc/agent -v agent-node-data:/var/lib/agent ` +
        `--network host ${role} 8765`,
      ],
      [{ NETWORK: "host", GPUS: "all" }, `${usual} --network host --gpus all ${role} 8765`],
      [
        { NETWORK: "host", EXTRA_MOUNTS: "/a:/b /c:/d:ro" },
        `${usual} --network host -v /c:/d:ro -v /a:/b ${role} 8765`,
      ],
      [
        { EXTRA_PORTS: "1:2 3:4" },
        `${usual} -p 3:4 -p 1:2 --hostname agent-node -p 127.0.0.1:8765:8765 ${role} 8765`,
      ],
      [{ NETWORK: "host", NO_AUTH: "1" }, `${usual} --network host -e NO_AUTH=1 ${role} 8765`],
      [
        { NETWORK: "host", NO_AUTH: "0", TLS_INIT: "false" },
        `${usual} --network host ${role} 8765`,
      ],
      [{ NETWORK: "host", TLS_INIT: "1" }, `${usual} --network host -e TLS_INIT=1 ${role} 8765`],
      [
        { NETWORK: "host", ENGINE_OPTIONS: "--pull=never" },
        `${usual} --pull=never --network host ${role} 8765`,
      ],
      [
        { NETWORK: "host", PUID: "12", PGID: "34" },
        `${usual} --network host --user 12:34 ${role} 8765`,
      ],
      [{ NETWORK: "host", PUID: "12" }, `${usual} --network host --user 12:12 ${role} 8765`],
    ] as [Record<string, string>, string][]
  ) {
    await withEngine(async (run) => {
      const ran = await run([], env);
      assert.equal(ran.code, 0, ran.stderr);
      assert.equal(ran.calls.findLast((call) => call.startsWith("run ")), wanted);
      assert.equal(/token=t/.test(ran.stdout), env.NO_AUTH !== "1");
    });
  }
});

Deno.test("the login URL leads to the published port", async () => {
  for (
    const [env, url] of [
      [{ PORT: "9000" }, "https://localhost:9000/?token=t\n"],
      [{ HOST_BIND: "0.0.0.0" }, "https://localhost:8765/?token=t\n"],
      [{ HOST_BIND: "10.0.0.5" }, "https://10.0.0.5:8765/?token=t\n"],
      [{ NETWORK: "host" }, "https://10.88.0.2:8765/?token=t\n"],
      [{ CLUSTER: "c", CLUSTER_ADDRESS: "gpu1:1" }, "https://10.88.0.2:8765/?token=t\n"],
    ] as [Record<string, string>, string][]
  ) await withEngine(async (run) => assert.equal((await run([], env)).stdout, url));
});

Deno.test("the volumes of image-run get the owner that PUID names, a folder of the host does not", async () => {
  await withEngine(async (run) => {
    const own = (calls: string[]) => calls.find((call) => call.includes("--entrypoint chown"));
    const named = own((await run([], { PUID: "12" })).calls);
    assert.match(named ?? "", /--user 0:0 .*-R 12:12 \/var\/lib\/agent \/etc\/agent$/);
    const bound = own((await run(["--recreate"], { PUID: "12", STATE_VOLUME: "./st" })).calls);
    assert.match(bound ?? "", /-R 12:12 \/var\/lib\/agent$/);
    assert.doesNotMatch(bound ?? "", /st:\/etc/);
    assert.equal(own((await run(["--recreate"])).calls), undefined);
  });
});

Deno.test("docker.env gives settings, variables win, and what is unknown is refused", async () => {
  await withEngine(async (run, folder) => {
    const write = (text: string) => Deno.writeTextFile(join(folder, "docker.env"), text);
    // The last line may lack its end.
    await write("# a comment\n\nNAME=from-file\nNETWORK=host\nPORT=9001\nEXTRA_MOUNTS=/a:/b /c:/d");
    const { calls } = await run([], { PORT: "9002" });
    const started = calls.find((call) => call.startsWith("run "));
    assert.match(started ?? "", /--name from-file .* --network host -v \/c:\/d -v \/a:\/b .*9002$/);
    await write("NAME=x\nNAEM=y\n");
    const refused = await run([]);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /docker\.env, line 2: "NAEM" is not a setting/);
  });
});

Deno.test("image-run refuses settings that cannot work before it starts anything", async () => {
  for (
    const [verb, env, code, said] of [
      [[], { PORT: "80a" }, 2, /PORT is "80a"/],
      [[], { PUID: "me" }, 2, /PUID and PGID have to be numbers/],
      [[], { PGID: "12" }, 2, /PGID is set, and needs PUID/],
      [[], { ENGINE: "no-such-engine" }, 2, /"no-such-engine", which is not on PATH/],
      [[], { CLUSTER: "lab" }, 3, /multicast does not leave[^]*next: Set CLUSTER_ADDRESS=HOST/],
      [["--recrate"], {}, 2, /unknown verb "--recrate"/],
    ] as [string[], Record<string, string>, number, RegExp][]
  ) {
    await withEngine(async (run) => {
      const ran = await run(verb, env);
      assert.equal(ran.code, code);
      assert.match(ran.stderr, said);
      assert.ok(!ran.calls.some((call) => call.startsWith("run ")));
    });
  }
});

Deno.test("each verb of image-run does one thing to one container", async () => {
  await withEngine(async (run) => {
    const env = { NAME: "x", NETWORK: "host" };
    const verb = (...words: string[]) => run(words, env);
    assert.equal((await verb("--status")).code, 3);
    assert.equal((await verb("--", "worker", "--worker.slots", "2")).code, 0);
    const again = await verb();
    assert.ok(!again.calls.some((call) => /^(run|start) /.test(call)), "it runs already");
    assert.match((await verb("--status")).stdout, /shown x[^]*did exec x agent tls status/);
    assert.deepEqual((await verb("--logs")).calls, ["logs -f x"]);
    assert.deepEqual((await verb("--shell")).calls, ["exec -it x sh"]);
    assert.deepEqual((await verb("--token")).calls, ["exec x agent token show"]);
    assert.deepEqual((await verb("--stop")).calls, ["stop x"]);
    assert.equal((await verb("--status")).code, 3);
    assert.ok((await verb()).calls.includes("start x"), "a stopped one is started as it is");
    const recreated = (await verb("--recreate", "--", "coordinator")).calls;
    assert.ok(recreated.indexOf("rm -f x") < recreated.findIndex((call) => /^run /.test(call)));
    assert.match(recreated.find((call) => /^run /.test(call)) ?? "", /agent:latest coordinator$/);
    const removed = await verb("--rm");
    assert.deepEqual(removed.calls, ["rm -f x"]);
    assert.match(removed.stderr, /its state stays in x-state and x-data/);
  });
});
