import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { agent } from "../support/agent.ts";
import { tempHome } from "../support/home.ts";

Deno.test("version says what is installed, for people and for programs", async () => {
  const people = await agent.run(["version"]);
  assert.equal(people.code, 0);
  assert.match(people.stdout, /^agent \d+\.\d+\.\d+ \(.*Deno \d.*\)\n$/);
  assert.equal(people.stderr, "");
  const programs = await agent.run(["version", "--json"]);
  const { version, deno, platform } = JSON.parse(programs.stdout);
  assert(people.stdout.includes(version) && people.stdout.includes(deno));
  assert.equal(platform, `${Deno.build.os}/${Deno.build.arch}`);
});

Deno.test("help goes to stdout, a missing command is wrong usage", async () => {
  for (
    const words of [["--help"], ["-h"], ["help"], ["config", "-h"], ["help", "config", "show"]]
  ) {
    const { code, stdout, stderr } = await agent.run(words);
    assert.equal(code, 0, words.join(" "));
    assert.match(stdout, /\nUsage:\n/);
    assert.equal(stderr, "");
  }
  const json = await agent.run(["config", "--json"]);
  assert.equal(JSON.parse(json.stderr).error.message, '"agent config" needs a command');
  for (const words of [[], ["config"]]) {
    const { code, stdout, stderr } = await agent.run(words);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, /\nCommands:\n/, "what can be typed instead");
    assert.match(stderr, /\n {2}config show {2,}Show every/);
    assert.doesNotMatch(stderr, /\n {2}completion reply/);
  }
});

Deno.test("an error is one line and one line of what to do, or a document", async () => {
  const wrong = await agent.run(["verison"]);
  assert.deepEqual([wrong.code, wrong.stdout], [2, ""]);
  assert.equal(
    wrong.stderr,
    'agent: Unknown command "agent verison"\n  next: Did you mean "version"?\n',
  );

  const json = await agent.run(["version", "--jsno", "--json"]);
  assert.deepEqual([json.code, json.stdout], [2, ""]);
  assert.deepEqual(JSON.parse(json.stderr), {
    error: { code: "usage", message: 'Unknown flag "--jsno"', next: 'Did you mean "--json"?' },
  });

  const evil = await agent.run(["\x1b]0;x\x07"]);
  assert.doesNotMatch(evil.stderr, /(?!\n)\p{Cc}/u);

  const debug = await agent.run(["verison"], { env: { AGENT_DEBUG: "1" } });
  assert.match(debug.stderr, /\n\s+at /);
});

Deno.test("the configuration is shown with the origin of each value", async () => {
  await using home = await tempHome();
  await Deno.writeTextFile(
    home.configFile,
    "coordinator:\n  port: 1234\nworker: { labels: { cuda: 12.10 } }\n",
  );
  const env = { AGENT_WORKER_SLOTS: "3" };
  const shown = await agent.run(["config", "show", "--json", "--log.level=debug"], { home, env });
  assert.equal(shown.code, 0, shown.stderr);
  const { file, settings } = JSON.parse(shown.stdout) as {
    file: string;
    settings: { key: string; value: unknown; text: string | null; origin: string }[];
  };
  assert.equal(file, home.configFile);
  assert.equal(settings.find(({ key }) => key === "worker.labels")?.text, "cuda=12.10");
  const of = (wanted: string) => {
    const { value, origin } = settings.find(({ key }) => key === wanted)!;
    return [value, origin];
  };
  assert.deepEqual(of("coordinator.port"), [1234, "file"]);
  assert.deepEqual(of("worker.slots"), [3, "environment"]);
  assert.deepEqual(of("log.level"), ["debug", "flag"]);
  assert.deepEqual(of("coordinator.host"), ["127.0.0.1", "default"]);
  assert.deepEqual(of("coordinator.advertise"), [null, "default"]);
  const text = await agent.run(["config", "show"], { home, env });
  assert.match(text.stdout, /^coordinator\.port +1234 +file$/m);
});

Deno.test("an enabled TLS directory supplies the files that were not named", async () => {
  await using home = await tempHome();
  await Deno.mkdir(home.tls, { recursive: true });
  await Deno.writeTextFile(
    `${home.tls}/config.yaml`,
    "enabled: true\nca_bundle: /elsewhere/ca.pem\n",
  );
  const origins = async (...flags: string[]) => {
    const { stdout, stderr } = await agent.run(["config", "show", "--json", ...flags], { home });
    assert.equal(stderr, "");
    const { settings } = JSON.parse(stdout) as {
      settings: { key: string; value: string; origin: string }[];
    };
    return settings.filter(({ key }) => /^peer\..*_file$/.test(key))
      .map(({ value, origin }) => [value, origin]);
  };
  const none = [null, "default"];
  assert.deepEqual(await origins(), [none, none, none]);
  assert.deepEqual(await origins("--peer.insecure=false"), [
    [`${home.tls}/server.crt`, "tls directory"],
    [`${home.tls}/server.key`, "tls directory"],
    ["/elsewhere/ca.pem", "tls directory"],
  ]);
  assert.deepEqual(await origins("--peer.insecure=false", "--peer.client-ca-file=/x"), [
    none,
    none,
    ["/x", "flag"],
  ]);
});

Deno.test("config set changes one key of the file, and says where it has no effect", async () => {
  await using home = await tempHome();
  const set = async (line: string, env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await agent.run(["config", "set", ...line.split(" ")], {
      home,
      env,
    });
    return [code, stdout + stderr] as const;
  };
  const [made, said] = await set("peer.insecure false");
  assert.deepEqual([made, said], [
    0,
    `Set peer.insecure to false in ${home.configFile}\nRestart running roles to apply it\n`,
  ]);
  await Deno.writeTextFile(home.configFile, "# mine\npeer: { insecure: false } # TLS\n");
  await Deno.chmod(home.configFile, 0o640);
  assert.equal((await set("worker.labels gpu=a100 zone=b"))[0], 0);
  assert.equal(
    await Deno.readTextFile(home.configFile),
    "# mine\npeer: { insecure: false } # TLS\nworker:\n  labels: [gpu=a100, zone=b]\n",
  );
  assert.equal((await Deno.stat(home.configFile)).mode! & 0o777, 0o640);
  const [, overridden] = await set("log.level debug", { AGENT_LOG_LEVEL: "warn" });
  assert.match(overridden, /no effect for now: the environment/);
  assert.match((await set("peer.insecure false"))[1], /is already false/);
  const [wrong, message] = await set("worker.slots many");
  assert.deepEqual([wrong, message.split("\n")[0]], [
    2,
    'agent: "worker.slots" is "many", must be a whole number from 1 to 4096',
  ]);
  assert.match((await set("worker.slot 1"))[1], /Did you mean "worker.slots"/);
  const names = (await Array.fromAsync(Deno.readDir(dirname(home.configFile)))).map((e) => e.name);
  assert.deepEqual(names.filter((name) => name.endsWith(".new")), [], "nothing is left behind");

  // A file that is named is made as well; only what reads it wants it to be there.
  const other = join(home.path, "folder", "other.yaml");
  assert.equal((await set(`node.cluster lab --config ${other}`))[0], 0);
  assert.equal((await set(`node.name x --config ${other}`))[0], 0);
  assert.equal(await Deno.readTextFile(other), "node:\n  name: x\n  cluster: lab\n");
  const none = await agent.run(["config", "show", "--config", `${other}x`], { home });
  assert.deepEqual([none.code, none.stdout], [2, ""]);
});

Deno.test("config check lists every problem and exits 2", async () => {
  await using home = await tempHome();
  await Deno.writeTextFile(home.configFile, "peer:\n  insecur: true\nworker:\n  slots: 0\n");
  const env = { AGENT_WORKER_SLOT: "1" };
  const text = await agent.run(["config", "check"], { home, env });
  assert.equal(text.code, 2);
  assert.match(
    text.stdout,
    /Unknown key "peer\.insecur" in .*config\.yaml:2\n {2}next: Did you mean/,
  );
  assert.match(text.stdout, /"worker\.slots" in .*config\.yaml:4 is "0", must be a whole number/);
  assert.match(
    text.stdout,
    /AGENT_WORKER_SLOT is ignored\n {2}next: Did you mean "AGENT_WORKER_SLOTS"/,
  );
  const json = await agent.run(["config", "check", "--json"], { home, env });
  assert.equal(json.code, 2);
  assert.equal(JSON.parse(json.stdout).problems.length, 2);
  const other = await agent.run(["config", "show"], { home });
  assert.equal(other.code, 2);
  assert.match(other.stderr, /^agent: Unknown key .* \(and 1 more: agent config check\)\n/);
});

Deno.test("config check says what could not start, and exits as that would", async () => {
  const check = async (...args: string[]) => {
    const { code, stdout } = await agent.run(["config", "check", ...args]);
    return [code, stdout];
  };
  const tls = "--peer.insecure=false";
  const [half, halfText] = await check(tls, "--peer.cert-file=/c");
  assert.equal(half, 2, "no role could start");
  assert.match(String(halfText), /would not start: "peer\.cert_file" is set, but/);
  const [refused, refusedText] = await check("--coordinator.host=0.0.0.0");
  assert.equal(refused, 3);
  assert.match(String(refusedText), /^As coordinator: would not start: Refused.*\n {2}next: /m);
  const [worker, workerText] = await check(tls, "--peer.client-ca-file=/ca");
  assert.equal(worker, 0, "a host of workers has no certificate for a coordinator");
  assert.match(String(workerText), /valid, but not every role could start$/m);
  const [idle, idleText] = await check("--peer.cert-file=/c", "--peer.key-file=/k");
  assert.equal(idle, 0);
  assert.match(String(idleText), /^warning: TLS is off: peer\.cert_file is set/m);
});

Deno.test("a configuration file that was named must be there", async () => {
  for (const words of [["--config", "/nowhere"], ["--config=/nowhere"]]) {
    const { code, stderr } = await agent.run(["config", "show", ...words]);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^agent: Reading the configuration "\/nowhere" failed: it does not exist\n {2}next: .*--config/,
    );
  }
  const { code } = await agent.run(["config", "show"], { env: { AGENT_CONFIG: "/nowhere" } });
  assert.equal(code, 2);
});

Deno.test("colour is off for a pipe, and --color says otherwise", async () => {
  const env = { NO_COLOR: undefined };
  const escape = /\p{Cc}\[/u;
  assert.doesNotMatch((await agent.run(["config", "show"], { env })).stdout, escape);
  assert.match((await agent.run(["config", "show", "--color=always"], { env })).stdout, escape);
  assert.match((await agent.run(["config", "show", "--color", "always"])).stdout, escape);
});

Deno.test("version answers without a home, what needs one says so", async () => {
  const env = { HOME: undefined, XDG_CONFIG_HOME: undefined, XDG_STATE_HOME: undefined };
  assert.equal((await agent.run(["version"], { env })).code, 0);
  const { code, stderr } = await agent.run(["config", "show"], { env });
  // Root uses the folders of the system.
  if (Deno.uid() === 0) assert.equal(code, 0, stderr);
  else assert.match(stderr, /^agent: The home folder is unknown: HOME is not set/);
});

Deno.test("a switch of a container that says neither yes nor no is refused, and nothing is made", async () => {
  await using home = await tempHome();
  const entrypoint = (TLS_INIT: string) =>
    agent.run(["entrypoint"], { home, env: { TLS_INIT, AGENT_TLS_DIR: home.tls } });
  const refused = await entrypoint("yes");
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /^agent: TLS_INIT is "yes", must be true, false, 1 or 0\n/);
  for (const off of ["0", "false", ""]) assert.equal((await entrypoint(off)).code, 0);
  await assert.rejects(Deno.stat(home.tls), Deno.errors.NotFound);
  assert.equal((await entrypoint("true")).code, 0);
  assert.ok((await Deno.stat(`${home.tls}/ca/ca.key`)).isFile);
});
