/** Containers of different userlands as peers of `agent tls deploy`. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { component } from "../support/component.ts";
import {
  type Containers,
  containersCheck,
  makeMusl,
  run,
  startContainers,
} from "../support/containers.ts";
import { type Home, tempHome } from "../support/home.ts";

const ready = await component("containers", ...containersCheck);

async function start(containers: Containers, name: string, image: string): Promise<void> {
  const args = [
    "run",
    "-d",
    "--pull=never",
    "--network=none",
    "--name",
    name,
    image,
    "sleep",
    "1d",
  ];
  const ran = await run("podman", args, containers.env);
  assert.equal(ran.code, 0, ran.stderr);
}

Deno.test({
  name: "a container with busybox and glibc gets the executable, one with musl is told why not",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn() {
    await using containers = await startContainers();
    await using home: Home = await tempHome();
    assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
    await start(containers, "lean", containers.base);
    await start(containers, "alpine", await makeMusl(containers));
    const inside = async (container: string, ...args: string[]) => {
      const ran = await run("podman", ["exec", container, ...args], containers.env);
      assert.equal(ran.code, 0, ran.stderr);
      return ran.stdout;
    };
    const deploy = (name: string, ...more: string[]) =>
      agent.run(["tls", "deploy", "--container", name, "localhost", ...more], {
        home,
        env: containers.env,
      });

    const pushed = await deploy("lean", "--push-binary");
    assert.equal(pushed.code, 0, pushed.stdout + pushed.stderr);
    assert.match(pushed.stdout, /changed +executable \(none there\), certificate/);
    assert.match(await inside("lean", "agent", "version"), /^agent \d/);
    assert.match((await deploy("lean", "--push-binary")).stdout, /^localhost +unchanged/m);

    const refused = await deploy("alpine", "--push-binary");
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /its C library is musl, and the executable needs glibc/);
    assert.match(refused.stderr, /leave out --push-binary/);
    assert.doesNotMatch(await inside("alpine", "ls", "-A", "/etc"), /^agent$/m);
    // As the message says.
    assert.equal((await deploy("alpine")).code, 0);
    assert.match(await inside("alpine", "ls", "-l", "/etc/agent/tls/server.key"), /^-rw------- /);
    assert.match((await deploy("alpine")).stdout, /^localhost +unchanged/m);
  },
});
