import assert from "node:assert/strict";
import { join } from "node:path";
import type { Attempts, Findings } from "../../tests/support/probe.ts";
import { type Grants, noGrants } from "./grants.ts";
import { Stopped } from "./messages.ts";
import { permissions, startThread, type ThreadEnd } from "./start.ts";

const probe = new URL("../../tests/support/probe.ts", import.meta.url);

/** Tries all that in a thread with these grants. */
async function inside(grants: Grants, attempts: Omit<Attempts, "port">): Promise<Findings> {
  const { port1, port2 } = new MessageChannel();
  await using thread = startThread({
    entry: probe,
    name: "probe",
    grants,
    init: { ...attempts, port: port2 },
    transfer: [port2],
  });
  const findings = new Promise<Findings>((resolve) =>
    port1.onmessage = ({ data }) => resolve(data)
  );
  const end = await thread.ended;
  assert.deepEqual(end, { exit: 0 });
  const found = await findings;
  port1.close();
  return found;
}

async function folder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "agent-sandbox-" }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** A thread from code, for ends that no real entry has. */
async function endOf(code: string, stop = false): Promise<ThreadEnd> {
  const serve = new URL("./thread.ts", import.meta.url);
  const source = `import { serveThread } from "${serve}";\n${code}`;
  await using thread = startThread({
    entry: new URL(`data:text/javascript,${encodeURIComponent(source)}`),
    name: "ending",
    grants: noGrants,
    init: "x",
  });
  if (stop) thread.stop("SIGTERM");
  return await thread.ended;
}

Deno.test("without grants a thread can touch nothing", async () => {
  await using dir = await folder();
  const file = join(dir.path, "a");
  await Deno.writeTextFile(file, "a");
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const found = await inside(noGrants, {
    read: [file, "/etc/hosts", "/proc/self/environ"],
    write: [file],
    list: [dir.path, "/"],
    listen: ["127.0.0.1:0"],
    dial: [`127.0.0.1:${(listener.addr as Deno.NetAddr).port}`],
    run: ["true", Deno.execPath()],
    variables: ["HOME", "PATH"],
    import: ["https://example.invalid/x.js", `file://${file}`],
    sqlite: [join(dir.path, "db")],
    signal: [Deno.ppid],
    sys: true,
  });
  const allowed = Object.entries(found).filter(([, outcome]) => outcome !== "refused");
  assert.deepEqual(allowed, [], "all but these was refused");
  assert.equal(Object.keys(found).length, 19);
});

Deno.test("what is granted works, and nothing beside it", async () => {
  await using dir = await folder();
  const [own, secret] = [join(dir.path, "own"), join(dir.path, "secret")];
  await Deno.mkdir(own);
  await Deno.writeTextFile(secret, "s");
  await Deno.writeTextFile(join(dir.path, "granted"), "g");
  using granted = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const at = ({ addr }: Deno.Listener) => `127.0.0.1:${(addr as Deno.NetAddr).port}`;
  const found = await inside({
    ...noGrants,
    read: [own, join(dir.path, "granted")],
    write: [own],
    net: [at(granted)],
    sys: ["hostname"],
  }, {
    read: [join(dir.path, "granted"), secret, join(own, "..", "secret")],
    write: [join(own, "new"), join(dir.path, "new"), join(dir.path, "granted")],
    list: [own, dir.path],
    dial: [at(granted), at(other)],
    variables: ["AGENT_TLS_DIR", "GRPC_TRACE", "HOME"],
    sqlite: [join(own, "db"), join(dir.path, "db")],
    signal: [Deno.ppid],
    sys: true,
  });
  assert.deepEqual(found, {
    [`read ${join(dir.path, "granted")}`]: "done",
    [`read ${secret}`]: "refused",
    [`write ${join(own, "new")}`]: "done",
    [`write ${join(dir.path, "new")}`]: "refused",
    [`write ${join(dir.path, "granted")}`]: "refused",
    [`list ${own}`]: "done",
    [`list ${dir.path}`]: "refused",
    [`dial ${at(granted)}`]: "done",
    [`dial ${at(other)}`]: "refused",
    "variable AGENT_TLS_DIR": "done",
    "variable GRPC_TRACE": "done",
    "variable HOME": "refused",
    [`sqlite ${join(own, "db")}`]: "done",
    [`sqlite ${join(dir.path, "db")}`]: "refused",
    networkInterfaces: "refused",
    hostname: "done",
    signal: "refused",
    ffi: "refused",
  });
});

Deno.test("a granted file is followed when it is replaced by rename or by a link", async () => {
  await using dir = await folder();
  const [file, link] = [join(dir.path, "tls.crt"), join(dir.path, "linked.crt")];
  await Deno.writeTextFile(join(dir.path, "next"), "2");
  await Deno.writeTextFile(file, "1");
  await Deno.rename(join(dir.path, "next"), file);
  // As Kubernetes mounts them: the file is a link into a folder that is a link.
  await Deno.mkdir(join(dir.path, "..2026"));
  await Deno.writeTextFile(join(dir.path, "..2026", "linked.crt"), "3");
  await Deno.symlink("..2026", join(dir.path, "..data"));
  await Deno.symlink(join("..data", "linked.crt"), link);
  const found = await inside({ ...noGrants, read: [file, link] }, { read: [file, link] });
  assert.deepEqual(Object.values(found), ["done", "done"]);
});

Deno.test("a thread tells its end, however it ends", async () => {
  assert.deepEqual(await endOf("serveThread(async (init) => init === 'x' ? 7 : 8)"), { exit: 7 });
  const failures = {
    "serveThread(async () => { throw new Error('thrown') })": /^thrown$/,
    "serveThread(() => new Promise(() => setTimeout(() => { throw new Error('late') })))": /^late$/,
    "serveThread(() => new Promise(() => void Promise.reject(new Error('lost'))))": /^lost$/,
    "throw new Error('at load')": /at load/,
    "import './missing.ts'": /missing/,
  };
  for (const [code, message] of Object.entries(failures)) {
    const end = await endOf(code);
    assert("facts" in end, code);
    assert.match(end.facts.message, message, code);
    assert.equal(end.facts.code, "internal");
  }
});

Deno.test("a stop aborts the thread's signal", async () => {
  const end = await endOf(
    `serveThread((_, signal) => new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason));
    }))`,
    true,
  );
  assert("facts" in end);
  assert.equal(end.facts.code, "stopped");
  assert.equal(end.facts.message, new Stopped("SIGTERM").message);
});

Deno.test("nothing is inherited: each permission is spelt out", () => {
  const { env, ...others } = permissions(noGrants);
  assert(Array.isArray(env) && !env.includes("HOME") && !env.includes("*"));
  assert.deepEqual(others, {
    read: false,
    write: false,
    net: false,
    sys: false,
    run: false,
    ffi: false,
    import: false,
  });
});
