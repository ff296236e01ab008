/** The image, built and run by the scripts: the ways in which a container comes by its TLS state. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { component } from "../support/component.ts";
import { type Containers, containersCheck, run, startContainers } from "../support/containers.ts";
import { tempHome } from "../support/home.ts";

const ready = await component("containers", ...containersCheck);
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
  },
});

async function build(containers: Containers, tag: string, env: Record<string, string> = {}) {
  const ran = await run(join(root, "scripts/image-build"), [tag], {
    ...containers.env,
    BUILD_ARGS: `BASE=${containers.base} EXECUTABLE=dist/agent`,
    ENGINE_OPTIONS: "--pull=never",
    ...env,
  });
  assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  return ran;
}

async function podman(containers: Containers, ...args: string[]): Promise<string> {
  const ran = await run("podman", args, containers.env);
  assert.equal(ran.code, 0, `podman ${args.join(" ")}: ${ran.stderr}`);
  return ran.stdout;
}

/** scripts/image-run in a folder without docker.env; each container has a port of its own. */
function imageRun(containers: Containers, name: string, env: Record<string, string> = {}) {
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

async function tlsInit(containers: Containers): Promise<void> {
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

async function bindMount(containers: Containers): Promise<void> {
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

async function minted(containers: Containers): Promise<void> {
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

async function baked(containers: Containers): Promise<void> {
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

async function deployed(containers: Containers): Promise<void> {
  await using home = await tempHome();
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const { port, script } = imageRun(containers, "peer");
  const started = await script("--", "node", "-H", "127.0.0.1", "--port", port);
  assert.equal(started.code, 0, started.stderr);
  const deploy = () =>
    agent.run(["tls", "deploy", "--container", "peer", "localhost"], {
      home,
      env: containers.env,
    });
  const first = await deploy();
  assert.equal(first.code, 0, first.stdout + first.stderr);
  assert.match(first.stdout, /^localhost +changed +certificate \(no CA yet\)/m);
  const listed = await podman(containers, "exec", "peer", "ls", "-ln", "/etc/agent/tls/server.key");
  assert.match(listed, /^-rw------- .* 10001 +10001 /);
  assert.match((await deploy()).stdout, /^localhost +unchanged/m);
  assert.equal((await script("--recreate")).code, 0);
  assert.match(await health(port, join(home.tls, "ca/ca.crt")), /"status":"ok"/);
  await script("--rm");
  const gone = await deploy();
  assert.equal(gone.code, 1);
  assert.match(gone.stdout, /there is no container "peer"/);
}

async function unusable(containers: Containers): Promise<void> {
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
