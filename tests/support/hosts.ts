/**
 * Several hosts on one machine. Each has its own network namespace on a common bridge, host name,
 * sshd, and file system (a copy on write of this one, with empty /root, /tmp, /etc/agent and
 * /var/lib/agent), and `agent` on its PATH. They reach each other by name, and nothing else.
 *
 *     const ready = await component("hosts", ...hostsCheck);
 *     Deno.test({ name: "…", ...ready, fn: async () => {
 *       await using hosts = await threeHosts();
 *       await hosts.a.ok("ssh b.lan hostname");
 *     }});
 */
import { join } from "node:path";
import { agent, type Ran, type Running } from "./agent.ts";
import { asRoot, type Check, networkNamespaces, programs } from "./component.ts";
import { eventually } from "./eventually.ts";
import { denoDir, type Home } from "./home.ts";

/** Longer than any command takes, also one that starts several programs over ssh. */
const runWithinMs = 120_000;
/** Duplicate address detection takes 1 to 2 s where it cannot be turned off. */
const settledWithinMs = 20_000;

export interface Host {
  name: string;
  /** IPv4 address on the common network. */
  address: string;
  /** To start a program on it: `agent.run(args, { through, home })`. */
  through: string[];
  /** Environment and home of its user, root. */
  home: Home;
  /** Runs a shell command in root's home. */
  run(command: string, stdin?: string): Promise<Ran>;
  /** The same; returns stdout, and throws with all output unless the exit code is 0. */
  ok(command: string, stdin?: string): Promise<string>;
  /** Starts a role with a shell command, and waits for its ready line. */
  start(command: string): Promise<Running>;
  /** Starts another server with a shell command, and waits until its output matches. */
  serve(command: string, says: RegExp): Promise<AsyncDisposable>;
}

export type Hosts<Name extends string> = Record<Name, Host> & { list: Host[] } & AsyncDisposable;

/** The checks for `component`: why this machine cannot have hosts. */
export const hostsCheck: Check[] = [
  () => Deno.build.os === "linux" ? undefined : "needs Linux",
  asRoot,
  programs(
    "sshd",
    "ssh",
    "scp",
    "ssh-keygen",
    "ip",
    "nsenter",
    "unshare",
    "pivot_root",
    "setsid",
    "flock",
  ),
  networkNamespaces,
  overlays,
];

/** Hosts `a`, `b` and `c` in the domain `lan`. */
export function threeHosts(): Promise<Hosts<"a" | "b" | "c">> {
  return startHosts(["a", "b", "c"]);
}

/** Hosts with these names: one letter or a short word each. */
export async function startHosts<Name extends string>(names: Name[]): Promise<Hosts<Name>> {
  await using undo = new AsyncDisposableStack();
  const made = await Deno.makeTempDir({ prefix: "agent-hosts-" });
  const prefix = made.slice(made.lastIndexOf("/") + 1);
  const lan = `${prefix}-lan`;
  const namespace = (name: string) => `${prefix}-${name}`;
  undo.use(reaper(made, [...names.map(namespace), lan]));

  const address = (name: Name) => `10.77.0.${names.indexOf(name) + 1}`;
  await shell(
    "flock /run ip netns add $1 && ip -n $1 link add br0 up type bridge mcast_snooping 0",
    lan,
  );
  for (const name of names) {
    await shell(
      `flock /run ip netns add $1 && ip -n $2 link add v-$3 type veth peer name eth0 netns $1
       ip -n $2 link set v-$3 master br0 up
       ip netns exec $1 sh -c 'echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad || true'
       ip -n $1 addr add $4/24 dev eth0 && ip -n $1 link set eth0 up
       ip -n $1 route add 224.0.0.0/4 dev eth0`,
      namespace(name),
      lan,
      name,
      address(name),
    );
  }

  await keys(made, names);
  await Deno.writeTextFile(
    join(made, "hosts"),
    ["127.0.0.1 localhost", ...names.map((name) => `${address(name)} ${name}.lan ${name}`), ""]
      .join("\n"),
  );
  await Deno.writeTextFile(
    join(made, "known_hosts"),
    (await Promise.all(names.map(async (name) => {
      const key = await Deno.readTextFile(join(made, `${name}.pub`));
      return `${name},${name}.lan,${address(name)} ${key}`;
    }))).join(""),
  );
  await Deno.writeTextFile(join(made, "agent"), wrapper(), { mode: 0o755 });

  const hosts = await Promise.all(names.map(async (name) => {
    const pid = await hold(name, made, namespace(name));
    return [name, host(name, address(name), pid)] as const;
  }));
  await Promise.all(names.map((name) => settled(namespace(name))));
  const ends = undo.move();
  return Object.assign(Object.fromEntries(hosts) as Record<Name, Host>, {
    list: hosts.map(([, host]) => host),
    [Symbol.asyncDispose]: () => ends.disposeAsync(),
  });
}

/**
 * Ends everything when its input closes: on disposal, and also when the tests are killed. It has a
 * session of its own, so that Ctrl-C in the terminal does not end it first.
 */
function reaper(made: string, namespaces: string[]): AsyncDisposable {
  const script = `
    made=$1; shift
    cat >/dev/null
    for ns in "$@"; do
      for try in 1 2 3 4 5 6 7 8 9 10; do
        pids=$(ip netns pids "$ns" 2>/dev/null) && [ -n "$pids" ] || break
        kill -9 $pids 2>/dev/null
        sleep 0.1
      done
      ip netns delete "$ns" 2>/dev/null
    done
    rm -rf "$made"`;
  const child = new Deno.Command("setsid", {
    args: ["sh", "-c", script, "reaper", made, ...namespaces],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await child.status;
    },
  };
}

/**
 * Waits until the interfaces of a host no longer change: the kernel reports a link as up within a
 * second, and an IPv6 address as usable after duplicate detection. Chromium aborts requests during
 * which an interface changes.
 */
async function settled(namespace: string): Promise<void> {
  await eventually(settledWithinMs, async () => {
    const { stdout } = await new Deno.Command("ip", {
      args: ["-n", namespace, "addr", "show", "dev", "eth0"],
    }).output();
    const shown = new TextDecoder().decode(stdout);
    if (shown.includes(" state UP ") && !shown.includes(" tentative ")) return true;
    throw new Error(`The interface of ${namespace} does not settle:\n${shown}`);
  });
}

/** Makes one ssh key for the user of all hosts, and one for each host. */
async function keys(made: string, names: string[]): Promise<void> {
  for (const name of ["id", ...names]) {
    await shell('ssh-keygen -q -t ed25519 -N "" -C $2 -f $1/$2', made, name);
  }
}

/** The `agent` command of the hosts: starts the program under test. */
function wrapper(): string {
  const { command, args } = agent.command();
  return `#!/bin/sh
export DENO_DIR='${denoDir()}' DENO_NO_UPDATE_CHECK=1
exec ${[command, ...args].map((word) => `'${word}'`).join(" ")} "$@"
`;
}

/** Starts the process that keeps a host's namespaces alive, and waits until the host is up. */
async function hold(name: string, made: string, namespace: string): Promise<number> {
  const { command } = agent.command();
  const shared = agent.compiled
    ? [command]
    : [command, denoDir(), join(import.meta.dirname!, "../..")];
  const script = join(import.meta.dirname!, "host.sh");
  const unshare = ["unshare", "--mount", "--uts", "--propagation", "private"];
  const child = new Deno.Command("nsenter", {
    args: [`--net=/run/netns/${namespace}`, ...unshare, "sh", script, name, made, ...shared],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  child.unref();
  const said = await child.stdout.pipeThrough(new TextDecoderStream()).getReader().read();
  if (said.value !== "up\n") {
    throw new Error(`Host ${name} is not up: ${await new Response(child.stderr).text()}`);
  }
  return child.pid;
}

function host(name: string, address: string, pid: number): Host {
  const through = ["nsenter", "--target", `${pid}`, "--mount", "--uts", "--net", "--"];
  const home: Home = {
    path: "/root",
    tls: "/etc/agent/tls",
    configFile: "/etc/agent/config.yaml",
    state: "/var/lib/agent",
    env: {
      HOME: "/root",
      USER: "root",
      LOGNAME: "root",
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const inShell = (command: string) => [...through, "sh", "-c", `cd; ${command}`];
  const run = (command: string, stdin?: string) =>
    agent.run([], {
      through: inShell(command),
      home,
      withinMs: runWithinMs,
      ...(stdin === undefined ? {} : { stdin }),
    });
  return {
    name,
    address,
    through,
    home,
    run,
    async ok(command, stdin) {
      const { code, stdout, stderr } = await run(command, stdin);
      if (code !== 0) throw new Error(`On ${name}, exit ${code}: ${command}\n${stdout}${stderr}`);
      return stdout;
    },
    start: (command) => agent.start("", [], { through: inShell(`exec ${command}`), home }),
    serve: (command, says) => serve(inShell(`exec ${command} 2>&1`), home.env, says),
  };
}

async function serve(
  line: string[],
  env: Record<string, string>,
  says: RegExp,
): Promise<AsyncDisposable> {
  const [command, ...args] = line;
  const child = new Deno.Command(command!, {
    args,
    env,
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  let said = "";
  const up = Promise.withResolvers<void>();
  const over = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      said += text;
      if (says.test(said)) up.resolve();
    }
    up.reject(new Error(`It ended: ${line.at(-1)}\n${said}`));
    return await child.status;
  })();
  const server = {
    async [Symbol.asyncDispose]() {
      up.promise.catch(() => {});
      // The server may have ended by itself.
      try {
        child.kill("SIGTERM");
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
      }
      await over;
    },
  };
  await up.promise;
  return server;
}

/** The kernel supports overlay file systems. */
async function overlays(): Promise<string | undefined> {
  const known = await Deno.readTextFile("/proc/filesystems");
  return /\boverlay$/m.test(known) ? undefined : "no overlay file system";
}

async function shell(script: string, ...args: string[]): Promise<void> {
  const ended = await new Deno.Command("sh", {
    args: ["-euc", script, "sh", ...args],
    stderr: "piped",
  }).output();
  if (!ended.success) throw new Error(`${script}: ${new TextDecoder().decode(ended.stderr)}`);
}
