/** The image, built and run by the scripts: the ways in which a container comes by its TLS state. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { component, findProgram } from "../support/component.ts";
import { type Containers, containersCheck, run, startContainers } from "../support/containers.ts";
import { eventually } from "../support/eventually.ts";
import { tempHome } from "../support/home.ts";

const ready = await component("containers", ...containersCheck);
type Engine = Pick<Containers, "env" | "folder" | "base">;
const root = join(import.meta.dirname!, "../..");
const image = "localhost/agent:test";

Deno.test({
  name: "an image runs nodes in each of the four ways of the documents",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn(t) {
    await using containers = await startContainers();
    await build(containers, image);
    await t.step("it is small, labelled, unprivileged and has a health check", async () => {
      const text = await podman(containers, "image", "inspect", image);
      const [facts] = JSON.parse(text);
      assert.ok(facts.Size <= 130e6, `${facts.Size} bytes`);
      assert.equal(facts.User, "10001:10001");
      assert.equal(facts.Labels["org.opencontainers.image.title"], "agent");
      assert.ok(facts.HealthCheck ?? facts.Healthcheck, text);
    });
    await t.step(
      "TLS_INIT=1 makes state at the first start, and keeps it",
      () => tlsInit(containers),
    );
    await t.step("the state of the host is shared by a bind mount", () => bindMount(containers));
    await t.step("a minted certificate is installed into a state folder", () => minted(containers));
    await t.step(
      "state is baked in, and copied into an empty volume only",
      () => baked(containers),
    );
    await t.step("a running container is provisioned by tls deploy", () => deployed(containers));
    await t.step(
      "volumes that cannot be used are named with the cause",
      () => unusable(containers),
    );
    await t.step("PUID and PGID own the volumes and run the node", () => owned(containers));
    await t.step(
      "a volume that a killed container left is completed by the next start",
      () => killed(containers),
    );
    await t.step("the state of a former version is kept as it is", () => former(containers));
    if (await findProgram("docker") !== undefined) {
      await t.step("the docker command works like podman", () => byDocker(containers));
    }
  },
});

async function build(containers: Engine, tag: string, env: Record<string, string> = {}) {
  const ran = await run(join(root, "scripts/image-build"), [tag], {
    ...containers.env,
    BUILD_ARGS: `BASE=${containers.base} EXECUTABLE=dist/agent`,
    ENGINE_OPTIONS: "--pull=never",
    ...env,
  });
  assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  return ran;
}

async function podman(containers: Engine, ...args: string[]): Promise<string> {
  const ran = await run("podman", args, containers.env);
  assert.equal(ran.code, 0, `podman ${args.join(" ")}: ${ran.stderr}`);
  return ran.stdout;
}

/** scripts/image-run in a folder without docker.env; each container has a port of its own. */
function imageRun(containers: Engine, name: string, env: Record<string, string> = {}) {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const port = String(listener.addr.port);
  const all = {
    ...containers.env,
    IMAGE: image,
    NAME: name,
    PORT: port,
    NETWORK: "host",
    ENGINE_OPTIONS: "--pull=never -e AGENT_NODE_HEALTH_PORT=0 -e AGENT_NODE_MDNS=false",
    ...env,
  };
  const script = (...args: string[]) =>
    run(join(root, "scripts/image-run"), args, all, containers.folder);
  return { port, script };
}

async function health(port: string, ca: string): Promise<string> {
  const ran = await new Deno.Command("curl", {
    args: ["-sS", "--cacert", ca, `https://localhost:${port}/api/health`],
  }).output();
  return new TextDecoder().decode(ran.stdout) + new TextDecoder().decode(ran.stderr);
}

async function tlsInit(containers: Engine): Promise<void> {
  const { port, script } = imageRun(containers, "init", { TLS_INIT: "1" });
  const first = await script();
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, new RegExp(`^https://.*:${port}/\\?token=`));
  const ca = join(containers.folder, "init-ca.crt");
  const read = () => podman(containers, "exec", "init", "cat", "/etc/agent/tls/ca/ca.crt");
  await Deno.writeTextFile(ca, await read());
  assert.match(await health(port, ca), /"status":"ok"/);
  const token = (await script("--token")).stdout;
  assert.equal((await script("--recreate")).code, 0);
  assert.equal(await read(), await Deno.readTextFile(ca));
  assert.equal((await script("--token")).stdout, token);
  assert.equal((await script("--status")).code, 0);
  assert.equal((await script("--stop")).code, 0);
  assert.equal((await script("--status")).code, 3);
  assert.equal((await script("--rm")).code, 0);
  assert.equal((await script("--status")).code, 3);
}

/** A TLS directory of this host, owned by the user of the container. */
async function hostState(folder: string): Promise<string> {
  await using home = await tempHome();
  const state = join(folder, "state");
  await Deno.mkdir(state);
  const env = { AGENT_TLS_DIR: join(state, "tls") };
  const made = await agent.run(["tls", "init"], { home, env });
  assert.equal(made.code, 0, made.stderr);
  return state;
}

async function chownAll(folder: string, uid: number): Promise<void> {
  const owned = await new Deno.Command("chown", { args: ["-R", `${uid}:${uid}`, folder] }).output();
  assert.ok(owned.success);
}

async function bindMount(containers: Engine): Promise<void> {
  const folder = join(containers.folder, "bind");
  await Deno.mkdir(folder);
  const state = await hostState(folder);
  await chownAll(state, 10001);
  const { port, script } = imageRun(containers, "bind", { STATE_VOLUME: state });
  const ran = await script();
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(await health(port, join(state, "tls/ca/ca.crt")), /"status":"ok"/);
  await script("--rm");
}

async function minted(containers: Engine): Promise<void> {
  const folder = join(containers.folder, "minted");
  await Deno.mkdir(folder);
  const head = await hostState(folder);
  await using home = await tempHome();
  const peer = join(folder, "peer-tls");
  const state = join(folder, "peer-state");
  await Deno.mkdir(state);
  const mint = ["tls", "mint", "-o", peer, "--hostname", "localhost"];
  const made = await agent.run(mint, { home, env: { AGENT_TLS_DIR: join(head, "tls") } });
  assert.equal(made.code, 0, made.stderr);
  const files = ["cert=server.crt", "key=server.key", "ca=ca.crt"]
    .map((pair) => pair.split("=")).map(([flag, file]) => `--${flag}=${join(peer, file!)}`);
  const install = await agent.run(["tls", "install", ...files], {
    home,
    env: { AGENT_TLS_DIR: join(state, "tls") },
  });
  assert.equal(install.code, 0, install.stderr);
  await chownAll(state, 10001);
  const { port, script } = imageRun(containers, "minted", { STATE_VOLUME: state });
  const ran = await script();
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(await health(port, join(head, "tls/ca/ca.crt")), /"status":"ok"/);
  await script("--rm");
}

async function baked(containers: Engine): Promise<void> {
  const folder = join(containers.folder, "baked");
  await Deno.mkdir(folder);
  const state = await hostState(folder);
  const tag = "localhost/agent:baked";
  const from = { TLS_BAKE_FROM_DIR: join(state, "tls") };
  const both = await run(join(root, "scripts/image-build"), [tag], {
    ...containers.env,
    ...from,
    TLS_BAKE_FROM_HOST: "1",
  });
  assert.equal(both.code, 2);
  const announced = await build(containers, tag, from);
  assert.match(announced.stderr, /This image is a secret/);
  const [facts] = JSON.parse(await podman(containers, "image", "inspect", tag));
  assert.equal(facts.Labels["agent.secret"], "true");
  const ca = join(state, "tls/ca/ca.crt");
  const nodes = await Promise.all(["one", "two"].map(async (name) => {
    const { port, script } = imageRun(containers, name, { IMAGE: tag });
    const ran = await script();
    assert.equal(ran.code, 0, ran.stderr);
    const text = await health(port, ca);
    assert.match(text, /"status":"ok"/);
    const listed = await podman(containers, "exec", name, "ls", "/etc/agent/tls/ca");
    assert.equal(listed.trim(), "ca.crt", "the CA's key is not baked");
    return { script, id: JSON.parse(text).node_id };
  }));
  // Certificates are shared, identities are not.
  assert.notEqual(nodes[0]!.id, nodes[1]!.id);
  await Promise.all(nodes.map(({ script }) => script("--rm")));
  // A volume with state of another CA is kept, and said to differ.
  const other = join(containers.folder, "other");
  await Deno.mkdir(other);
  const kept = await hostState(other);
  await chownAll(kept, 10001);
  const { port, script } = imageRun(containers, "kept", { IMAGE: tag, STATE_VOLUME: kept });
  const ran = await script();
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(await health(port, join(kept, "tls/ca/ca.crt")), /"status":"ok"/);
  const { stderr: said } = await run("podman", ["logs", "kept"], containers.env);
  assert.match(said, /another CA/);
  await script("--rm");
}

async function deployed(containers: Engine): Promise<void> {
  await using home = await tempHome();
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const peer = `peer-of-${containers.env.ENGINE}`;
  const { port, script } = imageRun(containers, peer);
  const started = await script("--", "node", "-H", "127.0.0.1", "--port", port);
  assert.equal(started.code, 0, started.stderr);
  const deploy = () =>
    agent.run(["tls", "deploy", "--container", peer, "localhost"], {
      home,
      env: containers.env,
    });
  const first = await deploy();
  assert.equal(first.code, 0, first.stdout + first.stderr);
  assert.match(first.stdout, /^localhost +changed +certificate \(no CA yet\)/m);
  assert.doesNotMatch(first.stdout, /Start a role there/, "the node of the container is seen");
  const listed = await podman(containers, "exec", peer, "ls", "-ln", "/etc/agent/tls/server.key");
  assert.match(listed, /^-rw------- .* 10001 +10001 /);
  assert.match((await deploy()).stdout, /^localhost +unchanged/m);
  assert.equal((await script("--recreate")).code, 0);
  assert.match(await health(port, join(home.tls, "ca/ca.crt")), /"status":"ok"/);
  await script("--rm");
  const gone = await deploy();
  assert.equal(gone.code, 1);
  assert.match(gone.stdout, new RegExp(`there is no container "${peer}"`));
}

/** Without PUID the volumes of another user are refused, and the log names both. */
async function owned(containers: Engine): Promise<void> {
  const env = { TLS_INIT: "1", PUID: "1234", PGID: "1235" };
  const { script } = imageRun(containers, "owned", env);
  const ran = await script();
  assert.equal(ran.code, 0, ran.stderr);
  const inside = (...args: string[]) => podman(containers, "exec", "owned", ...args);
  assert.match(await inside("id"), /uid=1234.* gid=1235/);
  assert.match(
    await inside("ls", "-ln", "/etc/agent/tls/server.key"),
    /^-rw------- .* 1234 +1235 /,
  );
  assert.match(await inside("ls", "-ldn", "/var/lib/agent/node"), /^drwx------ .* 1234 +1235 /);
  const other = imageRun(containers, "owned", { PUID: "1300" });
  const changed = await other.script("--recreate");
  assert.equal(changed.code, 0, changed.stderr);
  assert.match(await inside("id"), /uid=1300/);
  const without = await imageRun(containers, "owned").script("--recreate");
  assert.equal(without.code, 1);
  assert.match(without.stderr, /"\/etc\/agent" belongs to user 1300, and this is user 10001/);
  await script("--rm");
}

/** Kills the first start at moments that lie in its preparation, with both ways to prepare. */
async function killed(containers: Engine): Promise<void> {
  for (const tag of [image, "localhost/agent:baked"]) {
    const volume = `killed-${tag.split(":")[1]}`;
    const how = [
      "--pull=never",
      "--network=none",
      "-e",
      "TLS_INIT=1",
      "-v",
      `${volume}:/etc/agent`,
    ];
    for (const ms of [30, 80, 130, 200]) {
      const args = ["run", "-d", ...how, tag, "tls", "status"];
      const id = (await podman(containers, ...args)).trim();
      await new Promise((resolve) => setTimeout(resolve, ms));
      // It may have ended by itself.
      await run("podman", ["kill", id], containers.env);
      await podman(containers, "rm", "-f", id);
    }
    const status = await podman(containers, "run", "--rm", ...how, tag, "tls", "status", "--json");
    const { warnings } = JSON.parse(status) as { warnings: { code: string }[] };
    // Each container has another name.
    assert.deepEqual(warnings.filter(({ code }) => code !== "san_gap"), []);
    const left = await podman(
      containers,
      ...[
        "run",
        "--rm",
        ...how,
        "--entrypoint",
        "sh",
        tag,
        "-c",
        "ls -A /etc/agent /etc/agent/tls",
      ],
    );
    assert.doesNotMatch(left, /\.tls\.seed|\.new|journal/);
  }
}

/** Made by openssl, with fewer settings and files than today, and one setting that is gone. */
async function former(containers: Engine): Promise<void> {
  const folder = join(containers.folder, "former");
  const script = `mkdir -p tls/ca && cd tls && umask 077
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj '/CN=Former CA' \\
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \\
      -keyout ca/ca.key -out ca/ca.crt
    openssl req -newkey rsa:2048 -nodes -subj /CN=former -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' >ext
    openssl x509 -req -in server.csr -CA ca/ca.crt -CAkey ca/ca.key -CAcreateserial -days 800 \\
      -extfile ext -out server.crt
    rm server.csr ext; chmod 644 *.crt ca/*.crt
    printf 'enabled: true\\nformer_setting: 1\\n' >config.yaml`;
  await Deno.mkdir(folder);
  const made = await run("sh", ["-euc", script], containers.env, folder);
  assert.equal(made.code, 0, made.stderr);
  const token = "f".repeat(43);
  const id = "0f0f0f0f-0000-4000-8000-000000000000";
  await Deno.writeTextFile(join(folder, "token"), token, { mode: 0o600 });
  await Deno.writeTextFile(join(folder, "node-id"), id, { mode: 0o600 });
  await chownAll(folder, 10001);
  const before = await Deno.readTextFile(join(folder, "tls/server.crt"));
  const { port, script: container } = imageRun(containers, "former", {
    STATE_VOLUME: folder,
    TLS_INIT: "1",
  });
  const ran = await container();
  assert.equal(ran.code, 0, ran.stderr);
  const text = await health(port, join(folder, "tls/ca/ca.crt"));
  assert.equal(JSON.parse(text).node_id, id);
  assert.equal((await container("--token")).stdout.trim(), token);
  assert.equal(await Deno.readTextFile(join(folder, "tls/server.crt")), before);
  await container("--rm");
}

/** The real docker command, on podman's implementation of its interface. */
async function byDocker(containers: Engine): Promise<void> {
  const socket = `unix://${join(containers.folder, "docker.sock")}`;
  const service = new Deno.Command("podman", {
    args: ["system", "service", "--time=0", socket],
    env: containers.env,
    clearEnv: true,
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const docker: Engine = {
      ...containers,
      env: { ...containers.env, DOCKER_HOST: socket, ENGINE: "docker" },
    };
    await eventually(10_000, async () => (await run("docker", ["ps"], docker.env)).code === 0);
    await deployed(docker);
  } finally {
    service.kill("SIGTERM");
    await service.status;
  }
}

async function unusable(containers: Engine): Promise<void> {
  const folder = join(containers.folder, "unusable");
  await Deno.mkdir(folder, { mode: 0o755 });
  const once = async (...options: string[]) => {
    const args = ["run", "--rm", "--pull=never", "--network=none", "-e", "TLS_INIT=1"];
    return await run("podman", [...args, ...options, image, "tls", "status"], containers.env);
  };
  const foreign = await once("-v", `${folder}:/etc/agent`);
  assert.equal(foreign.code, 1);
  assert.match(foreign.stderr, /belongs to user 0, and this container runs as user 10001/);
  await chownAll(folder, 10001);
  const readOnly = await once("-v", `${folder}:/etc/agent:ro`);
  assert.equal(readOnly.code, 1);
  assert.match(readOnly.stderr, /mounted read-only/);
  // What a start left that was cut off while it copied.
  await Deno.mkdir(join(folder, ".tls.seed"));
  await chownAll(folder, 10001);
  assert.equal((await once("-v", `${folder}:/etc/agent`)).code, 0);
  const cluster = imageRun(containers, "none", { CLUSTER: "lab", NETWORK: "" });
  const refused = await cluster.script();
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /multicast does not leave/);
}
