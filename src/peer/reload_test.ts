import assert from "node:assert/strict";
import { join } from "node:path";
import { connect } from "node:tls";
import { eventually } from "../../tests/support/eventually.ts";
import { forward } from "../../tests/support/forwarder.ts";
import { fakeCoordinator, sampleSpec } from "../../tests/support/fake_coordinator.ts";
import { type Issued, makeAuthority } from "../../tests/support/openssl.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { systemClock } from "../base/clock.ts";
import { createLog } from "../base/log.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { dialCoordinator } from "./client.ts";
import type { PeerMode } from "../tls/mode.ts";
import { servePeer } from "./server.ts";

const env = { clock: systemClock, log: silentLog };
const { signal } = new AbortController();
/** Files are looked at each second, and read twice before they are called bad. */
const withinMs = 6000;

/** Writes beside the file and renames, as careful writers do. */
async function replace(file: string, content: Uint8Array | string): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  await Deno.writeFile(`${file}.new`, bytes);
  await Deno.rename(`${file}.new`, file);
}

async function install(from: Issued, to: Issued): Promise<void> {
  await replace(to.keyFile, await Deno.readFile(from.keyFile));
  await replace(to.certFile, await Deno.readFile(from.certFile));
}

/** The common name that a server shows to a client with this certificate; undefined: refused. */
function shown(port: number, caFile: string, own: Issued): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({
      port,
      host: "127.0.0.1",
      ca: Deno.readTextFileSync(caFile),
      cert: Deno.readTextFileSync(own.certFile),
      key: Deno.readTextFileSync(own.keyFile),
      ALPNProtocols: ["h2"],
    });
    let name: string | undefined;
    socket.once("secureConnect", () => name = String(socket.getPeerCertificate().subject.CN));
    socket.once("data", () => {
      resolve(name);
      socket.destroy();
    });
    socket.once("error", () => resolve(undefined));
    socket.once("close", () => resolve(undefined));
  });
}

Deno.test("a server takes new certificates while a stream runs on", async (t) => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const other = await makeAuthority(folder.path, "other", "/CN=Other CA");
  const client = await ca.issue("client");
  const [first, second, third, fourth] = await Promise.all(
    ["first", "second", "third", "fourth"].map((name) => ca.issue(name)),
  );
  // As Kubernetes mounts a secret: files are links into a folder that is a link itself.
  const mount = join(folder.path, "mount");
  await Deno.mkdir(join(mount, "..1"), { recursive: true });
  const within = (name: string): Issued => ({
    certFile: join(mount, name, "tls.crt"),
    keyFile: join(mount, name, "tls.key"),
  });
  await install(first!, within("..1"));
  await Deno.symlink("..1", join(mount, "..data"));
  await Deno.symlink("..data/tls.crt", join(mount, "tls.crt"));
  await Deno.symlink("..data/tls.key", join(mount, "tls.key"));
  const caFile = join(folder.path, "client-ca.crt");
  await Deno.copyFile(ca.caFile, caFile);

  let logged = "";
  const write = (line: string) => void (logged += line);
  const log = createLog({ level: "info", format: "json", now: Date.now, write });
  const mode: PeerMode = { mode: "mtls", ...within("."), clientCaFile: caFile, skipVerify: false };
  const fake = fakeCoordinator();
  await using server = await servePeer(
    { host: "127.0.0.1", port: 0, mode, ...fake, env: { clock: systemClock, log } },
    signal,
  );
  const dialled: PeerMode = { mode: "mtls", ...client, clientCaFile: ca.caFile, skipVerify: false };
  await using coordinator = await dialCoordinator(server.address, dialled, env);
  await coordinator.tasks.submit(sampleSpec);
  const watching = new AbortController();
  const stream = coordinator.tasks.watchTasks(["t1"], watching.signal)[Symbol.asyncIterator]();
  await stream.next();
  const showing = (name: string) =>
    eventually(withinMs, async () => await shown(server.port, ca.caFile, client) === name);

  await t.step("by a swap of links", async () => {
    assert.ok(await showing("first"));
    await Deno.mkdir(join(mount, "..2"));
    await install(second!, within("..2"));
    await Deno.symlink("..2", join(mount, "..next"));
    await Deno.rename(join(mount, "..next"), join(mount, "..data"));
    await showing("second");
  });
  await t.step("by rename", async () => {
    await install(third!, within("."));
    await showing("third");
  });
  await t.step("in place, with a pause between certificate and key", async () => {
    await Deno.copyFile(fourth!.certFile, within(".").certFile);
    await systemClock.sleep(500);
    await Deno.copyFile(fourth!.keyFile, within(".").keyFile);
    await showing("fourth");
    assert.doesNotMatch(logged, /not usable/);
  });
  await t.step("but no bad ones, and says so once", async () => {
    await replace(within(".").certFile, "nonsense");
    await eventually(withinMs, () => /not usable/.test(logged));
    assert.equal(await shown(server.port, ca.caFile, client), "fourth");
    await systemClock.sleep(2500);
    assert.equal(logged.match(/not usable/g)?.length, 1);
  });
  await t.step("nor one that TLS cannot use", async () => {
    logged = "";
    await install(await ca.issue("short", { key: "rsa:1024" }), within("."));
    await eventually(withinMs, () => /1024 bits/.test(logged));
    assert.equal(await shown(server.port, ca.caFile, client), "fourth");
  });
  await t.step("nor expired ones", async () => {
    logged = "";
    await install(await ca.issue("expired", { days: -1 }), within("."));
    await eventually(withinMs, () => /\\"CN=expired\\" expired on/.test(logged));
    assert.equal(await shown(server.port, ca.caFile, client), "fourth");
    assert.equal(server.trouble(), undefined);
  });
  await t.step("and good ones after bad ones", async () => {
    await install(first!, within("."));
    await showing("first");
  });
  await t.step("and another CA for its clients", async () => {
    await replace(caFile, await Deno.readFile(other.caFile));
    const stranger = await other.issue("stranger");
    await eventually(
      withinMs,
      async () =>
        await shown(server.port, ca.caFile, stranger) === "first" &&
        await shown(server.port, ca.caFile, client) === undefined,
    );
  });

  // All the while the first connection was open, and it still carries calls and its stream.
  assert.equal((await coordinator.tasks.listWorkers())[0]?.id, "w1");
  watching.abort();
  assert.equal((await stream.next()).done, true);
  await eventually(withinMs, () => fake.events.length > 0);
});

Deno.test("a client takes a new certificate and CA at its next connection", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const next = await makeAuthority(folder.path, "next");
  const own: Issued = {
    certFile: join(folder.path, "own.crt"),
    keyFile: join(folder.path, "own.key"),
  };
  const caFile = join(folder.path, "trusted.crt");
  await install(await ca.issue("before"), own);
  await Deno.copyFile(ca.caFile, caFile);
  const fake = fakeCoordinator();
  const serve = async (authority: typeof ca) => {
    const issued = await authority.issue("server");
    const mode: PeerMode = {
      mode: "mtls",
      ...issued,
      clientCaFile: authority.caFile,
      skipVerify: false,
    };
    return await servePeer({ host: "127.0.0.1", port: 0, mode, ...fake, env }, signal);
  };
  await using former = await serve(ca);
  await using latter = await serve(next);
  await using between = await forward(former.port);
  let lines = "";
  const write = (line: string) => void (lines += line);
  const log = createLog({ level: "info", format: "json", now: Date.now, write });
  await using coordinator = await dialCoordinator(
    between.address,
    { mode: "mtls", ...own, clientCaFile: caFile, skipVerify: false },
    { clock: systemClock, log },
  );
  await coordinator.tasks.listWorkers();
  await install(await next.issue("after"), own);
  await replace(
    caFile,
    await Deno.readTextFile(ca.caFile) + await Deno.readTextFile(next.caFile),
  );
  await eventually(withinMs, () => /in use/.test(lines));
  await coordinator.tasks.listWorkers();
  assert.equal(between.connections, 1);
  between.pointTo(latter.port);
  between.cut();
  const workers = await eventually(withinMs, () => coordinator.tasks.listWorkers());
  assert.equal(workers[0]?.id, "w1");
});
