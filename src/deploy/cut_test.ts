/**
 * Every script that changes a peer, ended at each of its steps: the next run completes, and nothing is
 * left. A step is one program that the script starts. Each of these programs is replaced by one
 * that counts, and at its turn ends the script: either all of its processes die at once, as when the
 * host loses power, or the script finds its input at the end, as when the connection breaks.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import {
  executableScript,
  filesScript,
  requestScript,
  settingsScript,
  tokenScript,
} from "./change_scripts.ts";

const programs = "cat chmod chown cut dd id ln mkdir mktemp mv openssl readlink rm sed stat wc";

const counting = `#!/bin/sh
PATH=\${PATH#*:} name=\${0##*/}
read -r n <"$STEPS/count"
n=$((n + 1))
echo $n >"$STEPS/count"
if [ "$n" = "$AT" ]; then
  if [ "$HOW" = die ]; then kill -9 0; fi
  exec </dev/null
  kill -HUP "$SCRIPT"
fi
exec "$name" "$@"
`;

/** Stands in for the executable: what its own commands leave after a crash is tested with them. */
const agent = `#!/bin/sh
case "$1 $2" in
  "tls request") echo key >"$AGENT_TLS_DIR/server.key.next" && echo csr >"$4" ;;
  "tls install")
    mkdir -p "$CONFIG/tls" && cp "$6" "$CONFIG/tls/.key" && mv "$CONFIG/tls/.key" "$CONFIG/tls/server.key" &&
      cp "$4" "$CONFIG/tls/.crt" && mv "$CONFIG/tls/.crt" "$CONFIG/tls/server.crt" ;;
  "config set") echo insecure >"$CONFIG/config.yaml" ;;
esac
`;

interface Case {
  script: string;
  input: string;
  variables: Record<string, string | number>;
  /** What is there at the end. */
  leaves: string[];
}

const key = "-----BEGIN PRIVATE KEY-----\n";
const tls = ["server.crt", "server.key"];
const cases: Record<string, Case> = {
  request: {
    script: requestScript,
    input: "5 3 6\ncert\nca\ntoken\n",
    variables: { force: "", ca_renewed: "", hostname: "b" },
    leaves: ["tls/", ...tls.map((name) => `tls/${name}`), "token"],
  },
  files: {
    script: filesScript,
    input: `${key}cert\nca\nbundle\nyaml\ntoken\n`,
    variables: {
      ...{ force: "", key_bytes: key.length, cert_bytes: 5, ca_bytes: 3, bundle_bytes: 7 },
      ...{ yaml_bytes: 5, token_bytes: 6 },
    },
    leaves: [
      ...["tls/", "tls/ca-bundle.crt", "tls/ca/", "tls/ca/ca.crt", "tls/config.yaml"],
      ...[...tls.map((name) => `tls/${name}`), "tls/trusted/", "token"],
    ],
  },
  token: {
    script: tokenScript,
    input: "token\n",
    variables: { token_bytes: 6 },
    leaves: ["token"],
  },
  settings: { script: settingsScript, input: "", variables: {}, leaves: ["config.yaml"] },
  executable: {
    script: executableScript,
    input: "#!/bin/sh\n",
    variables: { sha256: "c1c0ba0a3c8e4a6b8a3c5d2b7f6d7c0e" },
    leaves: ["agent", "agent.previous"],
  },
};

for (const [name, each] of Object.entries(cases)) {
  Deno.test({
    name: `the script for the ${name} can be ended at any step`,
    ignore: Deno.build.os === "windows",
    async fn() {
      const total = (await run(each, 0, "die", true)).count;
      assert.ok(total > 4, `${total} steps`);
      const points = Array.from({ length: total }, (_, at) => at + 1)
        // A script that can still act removes what it made, which is much the same at each step.
        .flatMap((at) => [[at, "die"] as const, ...at % 3 === 0 ? [[at, "cut"] as const] : []]);
      const next = points.values();
      // Several at a time.
      await Promise.all(Array.from({ length: 4 }, async () => {
        for (const [at, how] of next) await run(each, at, how, false);
      }));
    },
  });
}

/** Runs the script with a step at which it is ended, if any, and then again. */
async function run(
  { script, input, variables, leaves }: Case,
  at: number,
  how: "die" | "cut",
  isWhole: boolean,
): Promise<{ count: number }> {
  await using folder = await temporaryFolder();
  const steps = join(folder.path, "steps");
  const config = join(folder.path, "config");
  const bin = script === executableScript ? config : join(folder.path, "bin");
  for (const path of new Set([steps, config, bin])) await Deno.mkdir(path);
  await Deno.writeTextFile(join(steps, "step"), counting, { mode: 0o755 });
  for (const name of programs.split(" ")) await Deno.symlink("step", join(steps, name));
  await Deno.writeTextFile(join(bin, "agent"), agent, { mode: 0o755 });
  const sha256 = await sha256Of(input);
  const all = {
    ...{ config, tls: join(config, "tls"), bin, agent: join(bin, "agent"), by_host: "test" },
    ...variables,
    ...{ sha256 },
  };
  const assignments = Object.entries(all).map(([name, value]) => `${name}='${value}'\n`).join("");
  const start = async (cut: number, counts: boolean) => {
    await Deno.writeTextFile(join(steps, "count"), "0\n");
    const child = new Deno.Command("setsid", {
      args: ["sh", "-c", `export SCRIPT=$$\n${assignments}${script}`],
      env: {
        ...{ STEPS: steps, AT: `${cut}`, HOW: how, CONFIG: config },
        XDG_STATE_HOME: join(folder.path, "state"),
        PATH: counts ? `${steps}:${Deno.env.get("PATH")}` : Deno.env.get("PATH")!,
      },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input)).catch(() => {/* It has ended. */});
    await writer.close().catch(() => {/* It has ended. */});
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return { code, said: decoder.decode(stdout) + decoder.decode(stderr) };
  };
  if (!isWhole) await start(at, true);
  const ended = await start(0, isWhole);
  const where = `ended at step ${at}, ${how}: ${ended.said}`;
  assert.equal(ended.code, 0, where);
  assert.deepEqual(namesBelow(config).sort(), leaves, where);
  return { count: Number(await Deno.readTextFile(join(steps, "count"))) };
}

function namesBelow(folder: string, below = ""): string[] {
  return [...Deno.readDirSync(join(folder, below))].flatMap(({ name, isDirectory }) =>
    isDirectory
      ? [`${below}${name}/`, ...namesBelow(folder, `${below}${name}/`)]
      : [`${below}${name}`]
  );
}

async function sha256Of(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).toHex();
}
