import assert from "node:assert/strict";
import { agent, readyFields } from "./agent.ts";
import { component, programs } from "./component.ts";
import { eventually } from "./eventually.ts";
import { tempHome } from "./home.ts";

/** A shell instead of the program: its script must behave like a role. */
const shell = (script: string) => ({ through: ["sh", "-c", script] });
const ready = 'echo "ready role=x address=127.0.0.1:7 name=\\"a b\\"" >&2;';

Deno.test("a role is up once it has said so, and stops on SIGTERM", async () => {
  await using role = await agent.start("x", [], shell(`${ready} exec sleep 60`));
  assert.equal(role.address, "127.0.0.1:7");
  assert.equal(role.ready.name, "a b");
  assert.equal((await role.stop()).signal, "SIGTERM");
});

Deno.test("disposing a role ends it, and disposing it twice is fine", async () => {
  const role = await agent.start("x", [], shell(`${ready} exec sleep 60`));
  await role[Symbol.asyncDispose]();
  await role[Symbol.asyncDispose]();
  assert.equal((await role.exit).signal, "SIGTERM");
});

Deno.test("a role that ends before it is ready fails the start with what it said", async () => {
  await assert.rejects(
    agent.start("x", [], shell("echo no port >&2; exit 2")),
    /ended before it was ready; it said:\nno port/,
  );
});

Deno.test("a command has its input, an environment of its own, and both outputs apart", async () => {
  await using home = await tempHome();
  const script = "cat; pwd >&2; env | grep -c '^HOME\\|^SECRET' >&2; exit 7";
  const ran = await agent.run([], { ...shell(script), home, stdin: "in" });
  assert.deepEqual(
    { code: ran.code, stdout: ran.stdout, stderr: ran.stderr },
    { code: 7, stdout: "in", stderr: `${home.path}\n1\n` },
  );
});

Deno.test("the home is gone after disposal, which may be repeated", async () => {
  const home = await tempHome();
  await home[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
  await assert.rejects(Deno.stat(home.path), Deno.errors.NotFound);
});

Deno.test("the ready line is read in both formats", () => {
  assert.equal(readyFields('{"msg":"starting"}\n12:00:00 already up\n'), undefined);
  assert.equal(readyFields('{"msg":"ready","role":"worker"}\n')?.role, "worker");
  assert.equal(readyFields("ready role=worker"), undefined, "the line is not whole");
  assert.equal(readyFields("ready role=worker\n")?.role, "worker");
});

Deno.test("eventually returns the first answer, and throws the last failure", async () => {
  let asked = 0;
  assert.equal(await eventually(1000, () => ++asked > 2 && "yes"), "yes");
  await assert.rejects(
    eventually(20, () => {
      throw new Error("never");
    }),
    /never/,
  );
});

Deno.test("a component that is there is used, and one that is not is skipped", async () => {
  assert.deepEqual(await component("shell", programs("sh")), { ignore: false });
});
