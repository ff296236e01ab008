/** Invalid input of every kind, with a fixed seed: a clear error, and no file changed. */
import assert from "node:assert/strict";
import { UserError } from "../../src/base/errors.ts";
import type { InstallPki as Pki } from "../../src/pki/operations/install.ts";
import { importCa } from "../../src/pki/operations/import.ts";
import { initTls } from "../../src/pki/operations/init.ts";
import { inspectCertificate, readPair } from "../../src/pki/x509/inspect.ts";
import { install } from "../../src/pki/operations/install.ts";
import { mint } from "../../src/pki/operations/mint.ts";
import { parseHostname, parseIp } from "../../src/pki/x509/names.ts";
import { parsePem } from "../../src/pki/x509/pem.ts";
import { reportStatus } from "../../src/pki/operations/report.ts";
import { request } from "../../src/pki/operations/request.ts";
import { enable } from "../../src/pki/operations/switch.ts";
import { snapshot } from "../support/crash_points.ts";
import { type TlsLab, tlsLab } from "../support/tls.ts";

const seed = 20260721;

/** A small generator (mulberry32): the same numbers on every machine. */
function randomFrom(start: number) {
  let state = start;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return { below, pick: <T>(all: readonly T[]) => all[below(all.length)]! };
}
type Random = ReturnType<typeof randomFrom>;

/** One change to bytes, as accidents or attackers make them. */
function mutate(bytes: Uint8Array<ArrayBuffer>, other: Uint8Array, random: Random) {
  const copy = bytes.slice();
  const at = random.below(Math.max(1, copy.length));
  const joined = (...parts: Uint8Array[]) => {
    const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((start, part) => (all.set(part, start), start + part.length), 0);
    return all;
  };
  switch (random.below(9)) {
    case 0:
      return copy.slice(0, at);
    case 1:
      return copy.slice(at);
    case 2:
      for (let i = 0; i <= random.below(8); i++) {
        {
          const there = random.below(copy.length);
          copy[there] = copy[there]! ^ (1 + random.below(255));
        }
      }
      return copy;
    case 3:
      return joined(copy.slice(0, at), new Uint8Array(1 + random.below(4)), copy.slice(at));
    case 4:
      return joined(copy.slice(0, at), other.slice(random.below(other.length)));
    case 5: {
      const to = at + 1 + random.below(40);
      return joined(copy.slice(0, at), copy.slice(to));
    }
    case 6:
      return joined(copy.slice(0, at), copy.slice(at, at + 30), copy.slice(at));
    case 7: {
      const there = random.below(copy.length);
      [copy[at], copy[there]] = [copy[there]!, copy[at]!];
      return copy;
    }
    default:
      return copy.map((byte, i) => i < at ? byte : 0xff - byte);
  }
}

interface Counted {
  refused: number;
  taken: number;
}

/** Runs one case: accepted with a consistent result, or refused with a clear error. */
async function oneCase(
  counted: Counted,
  label: string,
  run: () => unknown,
  afterRefusal?: () => void,
): Promise<void> {
  try {
    await run();
    counted.taken++;
  } catch (error) {
    if (!(error instanceof UserError)) {
      throw new Error(`seed ${seed}, ${label}: no error for people`, { cause: error });
    }
    assert.ok([1, 2, 3].includes(error.exit), label);
    assert.match(error.message, /^["A-Z]/, label);
    assert.ok(!/\n/.test(error.message), label);
    counted.refused++;
    afterRefusal?.();
  }
}

Deno.test("bad names end with a clear error", async () => {
  const random = randomFrom(seed);
  const counted = { refused: 0, taken: 0 };
  const letters = [
    "a",
    "Z",
    "0",
    "-",
    ".",
    "*",
    "_",
    " ",
    "\0",
    "\n",
    "é",
    "☃",
    ":",
    "/",
    "%",
    "[",
    "'",
  ];
  while (counted.refused < 4000) {
    const name = Array.from({ length: random.below(80) }, () => random.pick(letters)).join("");
    const parse = random.pick([parseHostname, parseIp]);
    await oneCase(counted, JSON.stringify(name), () => {
      assert.match(parse(name), /^[a-z0-9*_.:-]+$/);
    });
  }
});

Deno.test("damaged DER and PEM end with a clear error", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  const { server, ca } = await initTls(pki);
  const random = randomFrom(seed + 1);
  const pem = new TextEncoder().encode(await Deno.readTextFile(`${pki.root}/ca-bundle.crt`));
  const counted = { refused: 0, taken: 0 };
  while (counted.refused < 3000) {
    const der = mutate(random.pick([server.der, ca.der]), ca.der, random);
    await oneCase(counted, "DER", () => inspectCertificate(der));
    const text = new TextDecoder().decode(mutate(pem, server.der, random));
    await oneCase(
      counted,
      "PEM",
      () => parsePem(text, "x").map(({ der }) => inspectCertificate(der)),
    );
  }
});

Deno.test("damaged files do not change the directory", async () => {
  await using lab = await tlsLab();
  const world = await prepared(lab);
  const random = randomFrom(seed + 2);
  const counted = { refused: 0, taken: 0 };
  const before = snapshot(world.peer.root);
  const holderBefore = snapshot(world.holder.root);
  const unchanged = () => assert.deepEqual(snapshot(world.peer.root), before);
  while (counted.refused < 2500) {
    const which = random.pick(["cert", "key", "ca", "import", "csr"] as const);
    const source = world.inputs[which];
    const other = world.inputs[random.pick(["cert", "key", "ca", "csr"] as const)];
    const bad = lab.at("bad");
    await Deno.writeFile(bad, mutate(source, other, random));
    const label = `${which}, case ${counted.refused + counted.taken}`;
    if (which === "csr") {
      const out = lab.at("out");
      await oneCase(
        counted,
        label,
        () => mint(world.holder, { out, csr: bad, hostnames: ["x"] }),
        () => assert.equal(snapshot(world.holder.root)["server.crt"], holderBefore["server.crt"]),
      );
      continue;
    }
    await oneCase(counted, label, async () => {
      if (which === "import") return void await importCa(world.peer, bad, "x");
      await install(world.peer, { ...world.files, [which]: bad });
      await readPair(`${world.peer.root}/server.crt`, `${world.peer.root}/server.key`);
    }, unchanged);
    if (JSON.stringify(snapshot(world.peer.root)) !== JSON.stringify(before)) await world.restore();
  }
});

Deno.test("a damaged config.yaml is reported and left unchanged", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const config = `${pki.root}/config.yaml`;
  const good = new Uint8Array(await Deno.readFile(config));
  const random = randomFrom(seed + 3);
  const counted = { refused: 0, taken: 0 };
  const yaml = new TextEncoder().encode(
    "a: &a [*a, {}, !!js/function 'x', ? , |-\n%YAML 9\n---\n\t- : ",
  );
  while (counted.refused < 1000) {
    const bad = mutate(good, yaml, random);
    await Deno.writeFile(config, bad);
    await oneCase(counted, "config.yaml", () => enable(pki), () => {
      assert.deepEqual(new Uint8Array(Deno.readFileSync(config)), bad);
    });
    await oneCase(counted, "status", () => reportStatus(pki, { repair: false }));
  }
});

Deno.test("links, folders, pipes and oversized files instead of files are reported", async () => {
  await using lab = await tlsLab();
  const { peer, holder, files } = await prepared(lab);
  const odd: Record<string, (path: string) => unknown> = {
    "a link to nowhere": (path) => Deno.symlink(lab.at("nowhere"), path),
    "a link to itself": (path) => Deno.symlink(path, path),
    "a folder": (path) => Deno.mkdir(path),
    "a device": (path) => Deno.symlink("/dev/zero", path),
    "a huge file": (path) => Deno.writeFile(path, new Uint8Array(2 ** 21)),
    "an empty file": (path) => Deno.writeFile(path, new Uint8Array()),
  };
  const before = snapshot(peer.root);
  for (const [what, make] of Object.entries(odd)) {
    const path = lab.at("odd");
    await make(path);
    const counted = { refused: 0, taken: 0 };
    const unchanged = () => assert.deepEqual(snapshot(peer.root), before, what);
    for (const which of ["cert", "key", "ca"] as const) {
      await oneCase(counted, what, () => install(peer, { ...files, [which]: path }), unchanged);
    }
    await oneCase(counted, what, () => importCa(peer, path), unchanged);
    await oneCase(counted, what, () => mint(holder, { out: lab.at("out"), csr: path }), unchanged);
    await Deno.remove(path, { recursive: true });
    assert.deepEqual(counted, { refused: 5, taken: 0 }, what);
  }
});

Deno.test("every command reports a wrong file in the place of its own", async () => {
  await using lab = await tlsLab();
  const names = [
    "config.yaml",
    "ca/ca.crt",
    "ca/ca.key",
    "server.crt",
    "server.key",
    "trusted",
    "ca",
  ];
  for (const [index, name] of names.entries()) {
    for (const kind of ["folder", "file", "loop"]) {
      const host = lab.host(`h${index}-${kind}`);
      await initTls(host);
      const path = `${host.root}/${name}`;
      await Deno.remove(path, { recursive: true }).catch(() => undefined);
      if (kind === "folder") await Deno.mkdir(path);
      if (kind === "file") await Deno.writeTextFile(path, "rubbish");
      if (kind === "loop") await Deno.symlink(path, path);
      const counted = { refused: 0, taken: 0 };
      const label = `${kind} at ${name}`;
      await oneCase(counted, label, () => reportStatus(host, { repair: true }));
      await oneCase(counted, label, () => mint(host, { out: lab.at(`o${index}-${kind}`) }));
      await oneCase(counted, label, () => initTls(host));
      await oneCase(counted, label, () => importCa(host, "/etc/hostname"));
    }
  }
});

async function prepared(lab: TlsLab) {
  const holder = lab.host("a");
  const peer = lab.host("b");
  await initTls(holder);
  await mint(holder, { out: lab.at("m"), hostnames: ["b.lan"] });
  await request(lab.host("c"), { out: lab.at("c.csr"), hostnames: ["c.lan"] });
  const files = {
    cert: lab.at("m/server.crt"),
    key: lab.at("m/server.key"),
    ca: lab.at("m/ca.crt"),
  };
  const restore = async () => {
    await Deno.remove(peer.root, { recursive: true }).catch(() => undefined);
    await install(peer, files);
  };
  await restore();
  const read = async (path: string) => new Uint8Array(await Deno.readFile(path));
  const inputs = {
    cert: await read(files.cert),
    key: await read(files.key),
    ca: await read(files.ca),
    import: await read(files.ca),
    csr: await read(lab.at("c.csr")),
  };
  return { holder, peer: peer as Pki, files, inputs, restore };
}
