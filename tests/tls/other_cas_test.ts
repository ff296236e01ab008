/** install and import-ca accept certificates made by other programs. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { output, type TlsLab, tlsLab } from "../support/tls.ts";
import { importCa } from "../../src/pki/operations/import.ts";
import { initTls } from "../../src/pki/operations/init.ts";
import { readPair } from "../../src/pki/x509/inspect.ts";
import { install } from "../../src/pki/operations/install.ts";
import { reportStatus } from "../../src/pki/operations/report.ts";

interface Files {
  cert: string;
  key: string;
  ca: string;
}

const openssl = await component("openssl", programs("openssl"));
const mkcert = await component("mkcert", programs("mkcert"));
const minica = await component("minica", programs("minica"));
const cfssl = await component("cfssl", programs("cfssl", "cfssljson"));
const easyRsaProgram = "/usr/share/easy-rsa/easyrsa";
const easyRsa = await component("easy-rsa", async () => {
  const found = await Deno.stat(easyRsaProgram).then(() => true, () => false);
  return found ? undefined : "not installed";
});

/** Installs it, imports its CA on another host, and verifies the result with OpenSSL. */
async function goesIn(lab: TlsLab, files: Files): Promise<void> {
  const host = lab.host("host", { detected: { hostnames: [], ips: [] } });
  await install(host, files);
  await readPair(`${host.root}/server.crt`, `${host.root}/server.key`);
  const { warnings } = await reportStatus(host, { repair: false });
  assert.deepEqual(warnings, []);
  const verify = ["verify", "-CAfile", `${host.root}/ca-bundle.crt`, "-untrusted"];
  const server = `${host.root}/server.crt`;
  assert.match(await output("openssl", [...verify, server, server]), /: OK/);
  const other = lab.host("other");
  await initTls(other);
  assert.equal((await importCa(other, files.ca, "imported")).added, true);
}

Deno.test({
  name: "a certificate of mkcert is accepted",
  ...mkcert,
  fn: async () => {
    await using lab = await tlsLab();
    const files = { cert: lab.at("a.pem"), key: lab.at("a-key.pem"), ca: lab.at("rootCA.pem") };
    await output(
      "env",
      [`CAROOT=${lab.path}`, "mkcert", "-cert-file", files.cert, "-key-file"]
        .concat([files.key, "a.lan", "10.0.0.5"]),
    );
    await goesIn(lab, files);
  },
});

Deno.test({
  name: "a certificate of minica is accepted",
  ...minica,
  fn: async () => {
    await using lab = await tlsLab();
    // Two programs have this name: the well-known one, and the one in Debian.
    const help = await output("sh", ["-c", "minica -h 2>&1 || true"]);
    if (help.includes("-domains")) {
      await output("minica", ["-domains", "a.lan", "-ip-addresses", "10.0.0.5"], lab.path);
      const at = (name: string) => lab.at("a.lan", name);
      await goesIn(lab, { cert: at("cert.pem"), key: at("key.pem"), ca: lab.at("minica.pem") });
    } else {
      await output("minica", ["a.lan"], lab.path);
      const files = { cert: lab.at("a.lan.crt"), key: lab.at("a.lan.key") };
      await goesIn(lab, { ...files, ca: lab.at("cacert.crt") });
    }
  },
});

Deno.test({
  name: "a certificate of easy-rsa is accepted, with the text before its blocks",
  ...easyRsa,
  fn: async () => {
    await using lab = await tlsLab();
    const pki = lab.at("pki");
    const run = (...args: string[]) =>
      output("env", ["EASYRSA_BATCH=1", `EASYRSA_PKI=${pki}`, easyRsaProgram, ...args], lab.path);
    await run("init-pki");
    await run("build-ca", "nopass");
    await run("--subject-alt-name=DNS:a.lan", "build-server-full", "a.lan", "nopass");
    await goesIn(lab, {
      cert: `${pki}/issued/a.lan.crt`,
      key: `${pki}/private/a.lan.key`,
      ca: `${pki}/ca.crt`,
    });
  },
});

Deno.test({
  name: "a certificate of cfssl is accepted, with its intermediate",
  ...cfssl,
  fn: async () => {
    await using lab = await tlsLab();
    const request = { CN: "Root", key: { algo: "rsa", size: 2048 }, ca: { expiry: "8760h" } };
    const signing = {
      signing: {
        default: { expiry: "4380h", usages: ["server auth", "client auth", "digital signature"] },
        profiles: {
          ca: { expiry: "8760h", usages: ["cert sign"], ca_constraint: { is_ca: true } },
        },
      },
    };
    const leaf = { CN: "a.lan", hosts: ["a.lan", "10.0.0.5"], key: { algo: "ecdsa", size: 256 } };
    const write = (name: string, what: unknown) =>
      Deno.writeTextFile(lab.at(name), JSON.stringify(what));
    await write("root.json", request);
    await write("config.json", signing);
    await write("middle.json", { CN: "Middle", key: { algo: "ecdsa", size: 384 } });
    await write("leaf.json", leaf);
    const steps = [
      "cfssl gencert -initca root.json | cfssljson -bare root",
      "cfssl gencert -ca root.pem -ca-key root-key.pem -config config.json -profile ca middle.json" +
      " | cfssljson -bare middle",
      "cfssl gencert -ca middle.pem -ca-key middle-key.pem -config config.json leaf.json" +
      " | cfssljson -bare leaf",
      "cat leaf.pem middle.pem > chain.pem",
    ];
    for (const step of steps) await output("sh", ["-c", step], lab.path);
    const files = {
      cert: lab.at("chain.pem"),
      key: lab.at("leaf-key.pem"),
      ca: lab.at("root.pem"),
    };
    await goesIn(lab, files);
  },
});

Deno.test({
  name:
    "OpenSSL's keys are accepted as PKCS#1, SEC1 and PKCS#8, with CRLF, comments and intermediates",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    const kinds = { rsa: ["rsa:2048"], ec: ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"] };
    for (const [kind, newkey] of Object.entries(kinds)) {
      const at = (name: string) => lab.at(`${kind}-${name}`);
      await opensslChain(at, newkey);
      await output("openssl", [
        "pkey",
        "-in",
        at("leaf.key"),
        "-traditional",
        "-out",
        at("old.key"),
      ]);
      const old = await Deno.readTextFile(at("old.key"));
      assert.match(old, kind === "rsa" ? /BEGIN RSA PRIVATE KEY/ : /BEGIN EC PRIVATE KEY/);
      const chain = ["leaf.crt", "middle.crt"].map((name) => Deno.readTextFileSync(at(name)));
      const commented = `Bag Attributes\n  friendlyName: x\n${chain.join("\n# next\n\n")}the end`;
      await Deno.writeTextFile(at("crlf.crt"), commented.replaceAll("\n", "\r\n"));
      await Deno.writeTextFile(at("crlf.key"), `# a key\r\n${old.replaceAll("\n", "\r\n")}`);
      const pairs = [["crlf.crt", "old.key"], ["crlf.crt", "leaf.key"], ["crlf.crt", "crlf.key"]];
      for (const [cert, key] of pairs) {
        const host = lab.host(`host-${kind}-${key}`, { detected: { hostnames: [], ips: [] } });
        await install(host, { cert: at(cert!), key: at(key!), ca: at("root.crt") });
        assert.match(await Deno.readTextFile(`${host.root}/server.key`), /^-----BEGIN PRIVATE KEY/);
        assert.deepEqual((await reportStatus(host, { repair: false })).warnings, []);
      }
      // The intermediate may also come with the CA.
      const together = await Deno.readTextFile(at("root.crt")) + chain[1];
      await Deno.writeTextFile(at("both.crt"), together);
      const host = lab.host(`host-${kind}-both`);
      await install(host, { cert: at("leaf.crt"), key: at("leaf.key"), ca: at("both.crt") });
      const alone = { cert: at("leaf.crt"), key: at("leaf.key"), ca: at("root.crt") };
      await assert.rejects(install(lab.host(`host-${kind}-alone`), alone), { code: "bad_chain" });
      const middle = { ...alone, ca: at("middle.crt") };
      await assert.rejects(install(lab.host(`host-${kind}-middle`), middle), { code: "bad_chain" });
    }
  },
});

Deno.test({
  name: "an encrypted key is refused with the command that decrypts it",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    await opensslChain(lab.at, ["rsa:2048"]);
    const key = lab.at("locked.key");
    const files = { cert: lab.at("leaf.crt"), key, ca: lab.at("root.crt") };
    for (const format of [[], ["-traditional"]]) {
      await output(
        "openssl",
        ["pkey", "-in", lab.at("leaf.key"), "-aes256", "-passout", "pass:x"]
          .concat(["-out", key, ...format]),
      );
      await assert.rejects(install(lab.host("host"), files), { code: "encrypted_key" });
    }
  },
});

Deno.test({
  name: "the host's certificate may come last in its file",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    await opensslChain(lab.at, ec);
    const all = ["root.crt", "middle.crt", "leaf.crt"].map((name) =>
      Deno.readTextFileSync(lab.at(name))
    );
    await Deno.writeTextFile(lab.at("all.crt"), all.join(""));
    const files = { cert: lab.at("all.crt"), key: lab.at("leaf.key"), ca: lab.at("root.crt") };
    await goesIn(lab, files);
    const installed = await Deno.readTextFile(lab.at("host/tls/server.crt"));
    assert.equal(installed, all[2]! + all[1]!);
  },
});

Deno.test({
  name: "a certificate that OpenSSL refuses is not installed",
  ...openssl,
  fn: async () => {
    const ca = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n";
    const cases: [string, Partial<ChainOptions>, string][] = [
      ["a short key", { leafKey: ["rsa:1024"] }, "unsupported_key"],
      ["an unusual curve", { leafKey: curve("secp256k1") }, "unsupported_key"],
      ["a critical unknown", { leaf: "1.2.3.4=critical,ASN1:UTF8:x\n" }, "bad_certificate"],
      ["a CA too many", { root: ca }, "bad_chain"],
      // With it, anyone who has a host's key would be a CA.
      ["a host as an intermediate", { middle: "basicConstraints=CA:FALSE\n" }, "bad_chain"],
    ];
    for (const [what, options, code] of cases) {
      await using lab = await tlsLab();
      await opensslChain(lab.at, ec, options);
      const chain = ["leaf.crt", "middle.crt"].map((name) => Deno.readTextFileSync(lab.at(name)));
      await Deno.writeTextFile(lab.at("chain.crt"), chain.join(""));
      const files = { cert: lab.at("chain.crt"), key: lab.at("leaf.key"), ca: lab.at("root.crt") };
      await assert.rejects(install(lab.host("host"), files), { code }, what);
    }
  },
});

Deno.test({
  name: "a CA is recognised by its key and constraints, not by its name",
  ...openssl,
  fn: async () => {
    // The two differ only in the signature.
    const bare = "subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n";
    const ca = `basicConstraints=critical,CA:TRUE\n${bare}`;
    const extensions = { root: ca, middle: ca, leaf: bare };
    await using lab = await tlsLab();
    await opensslChain(lab.at, ec, extensions);
    const own = lab.at("root.crt");
    await Deno.rename(own, lab.at("own.crt"));
    const chain = ["leaf.crt", "middle.crt"].map((name) => Deno.readTextFileSync(lab.at(name)));
    await Deno.writeTextFile(lab.at("chain.crt"), chain.join(""));
    const files = { cert: lab.at("chain.crt"), key: lab.at("leaf.key"), ca: lab.at("own.crt") };
    await using other = await tlsLab();
    await opensslChain(other.at, ec, extensions);
    const foreign = { ...files, ca: other.at("root.crt") };
    await assert.rejects(install(lab.host("host"), foreign), { code: "bad_chain" });
    await install(lab.host("host"), files);
    // A host's certificate, which does not say what its key is for.
    const host = { ...files, ca: lab.at("leaf.crt") };
    await assert.rejects(install(lab.host("new"), host), { code: "not_a_ca" });
    const holder = lab.host("holder");
    await initTls(holder);
    await assert.rejects(importCa(holder, lab.at("leaf.crt"), "x"), { code: "not_a_ca" });
  },
});

const curve = (name: string) => ["ec", "-pkeyopt", `ec_paramgen_curve:${name}`];
const ec = curve("P-256");

interface ChainOptions {
  /** Extensions as OpenSSL's configuration has them. */
  root: string;
  middle: string;
  leaf: string;
  leafKey: string[];
}

/** A root, an intermediate and a leaf. */
async function opensslChain(
  at: (name: string) => string,
  newkey: string[],
  { root, middle, leaf = "", leafKey = newkey }: Partial<ChainOptions> = {},
): Promise<void> {
  const ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
  const made: [string, string, string, string[]][] = [
    ["root", "/C=DE/O=Lab/CN=Root", root ?? ca, newkey],
    ["middle", "/CN=middle", middle ?? ca, newkey],
    [
      "leaf",
      "/CN=leaf",
      `subjectAltName=DNS:a.lan\nextendedKeyUsage=serverAuth,clientAuth\n${leaf}`,
      leafKey,
    ],
  ];
  for (const [index, [name, subject, extensions, key]] of made.entries()) {
    const by = made[index - 1]?.[0];
    await Deno.writeTextFile(at(`${name}.ext`), extensions);
    await output(
      "openssl",
      ["req", "-new", "-newkey", ...key, "-nodes", "-subj", subject]
        .concat(["-keyout", at(`${name}.key`), "-out", at(`${name}.csr`)]),
    );
    const signer = by === undefined
      ? ["-signkey", at(`${name}.key`)]
      : ["-CA", at(`${by}.crt`), "-CAkey", at(`${by}.key`), "-CAcreateserial"];
    await output(
      "openssl",
      ["x509", "-req", "-in", at(`${name}.csr`), "-days", "80", ...signer]
        .concat(["-extfile", at(`${name}.ext`), "-out", at(`${name}.crt`)]),
    );
  }
}
