/** Our certificates, verified by other programs. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { output, type TlsLab, tlsLab } from "../support/tls.ts";
import { serveTls } from "../support/openssl_server.ts";
import { initTls } from "../../src/pki/operations/init.ts";
import { keyTypes } from "../../src/pki/x509/key_types.ts";
import type { CertificateRole } from "../../src/pki/x509/roles.ts";
import { mint } from "../../src/pki/operations/mint.ts";
import { renewCa } from "../../src/pki/operations/renew.ts";

const openssl = await component("openssl", programs("openssl"));
const curl = await component("curl", programs("openssl", "curl"));
const go = await component("Go", programs("go"));
const python = await component("Python", programs("python3"));
const certtool = await component("GnuTLS", programs("certtool"));
const browser = await component(
  "Chromium",
  programs("chromium", "certutil", "unshare", "ip", "openssl"),
);

/** Other programs must accept certificates with a role, each of them, and without. */
const roles = { default: "node", "ec-p256": "worker", "ec-p384": "coordinator" } as const;

/** A CA, and a certificate of it for b.lan at 10.0.0.6. */
async function minted(lab: TlsLab, keyType?: (typeof keyTypes)[number]) {
  const host = lab.host(`a-${keyType ?? "default"}`);
  await initTls(host, { keyType });
  const out = lab.at(`b-${keyType ?? "default"}`);
  const role = (roles as Record<string, CertificateRole>)[keyType ?? "default"];
  await mint(host, { out, hostnames: ["b.lan"], ips: ["10.0.0.6"], role });
  return { host, out, cert: `${out}/server.crt`, key: `${out}/server.key`, ca: `${out}/ca.crt` };
}

Deno.test({
  name: "OpenSSL verifies every type of key strictly, for servers and for clients",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    for (const keyType of keyTypes) {
      const { cert, ca } = await minted(lab, keyType);
      for (const purpose of ["sslserver", "sslclient"]) {
        const verify = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile", ca, cert];
        assert.match(await output("openssl", verify), /: OK/);
      }
      const named = ["verify", "-verify_hostname", "b.lan", "-verify_ip", "10.0.0.6", "-CAfile"];
      assert.match(await output("openssl", [...named, ca, cert]), /: OK/);
    }
  },
});

Deno.test({
  name: "OpenSSL reads the promised certificate profile",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    const { cert, ca } = await minted(lab);
    const text = await output("openssl", ["x509", "-in", cert, "-noout", "-text"]);
    const expected = [
      /X509v3 Basic Constraints: critical\s+CA:FALSE/,
      /X509v3 Key Usage: critical\s+Digital Signature\n/,
      /TLS Web Server Authentication, TLS Web Client Authentication/,
      /DNS:b\.lan, DNS:localhost, IP Address:10\.0\.0\.6, IP Address:127\.0\.0\.1/,
      /URI:agent:role:node/,
      /X509v3 Subject Key Identifier/,
      /X509v3 Authority Key Identifier/,
    ];
    for (const pattern of expected) assert.match(text, pattern);
    const authority = await output("openssl", ["x509", "-in", ca, "-noout", "-text"]);
    assert.match(authority, /X509v3 Basic Constraints: critical\s+CA:TRUE, pathlen:0/);
    assert.match(authority, /X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign/);
  },
});

Deno.test({
  name: "OpenSSL continues our serial numbers, and its certificate can be installed",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    const { host } = await minted(lab);
    const at = (suffix: string) => lab.at(`x.${suffix}`);
    await output(
      "openssl",
      ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
        .concat(["-keyout", at("key"), "-out", at("csr")]),
    );
    const before = BigInt(`0x${(await Deno.readTextFile(`${host.root}/ca/ca.srl`)).trim()}`);
    await output(
      "openssl",
      ["x509", "-req", "-in", at("csr"), "-out", at("crt"), "-days", "9"]
        .concat(["-CA", `${host.root}/ca/ca.crt`, "-CAkey", `${host.root}/ca/ca.key`])
        .concat(["-CAserial", `${host.root}/ca/ca.srl`]),
    );
    const serial = await output("openssl", ["x509", "-in", at("crt"), "-noout", "-serial"]);
    assert.equal(BigInt(`0x${serial.trim().replace("serial=", "")}`), before + 1n);
    await mint(host, { out: lab.at("after") });
  },
});

Deno.test({
  name: "openssl s_server and s_client authenticate each other, also with mixed types of keys",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    const host = lab.host("mixed");
    await initTls(host, { keyType: "rsa-3072" });
    await initTls(host, { keyType: "ec-p256", hostnames: ["again"] });
    await mint(host, { out: lab.at("rsa") });
    const ca = `${host.root}/ca-bundle.crt`;
    await using server = await serveTls(
      `${host.root}/server.crt`,
      `${host.root}/server.key`,
      ["-Verify", "2", "-verify_return_error", "-CAfile", ca],
    );
    const client = ["s_client", "-connect", `localhost:${server.port}`, "-CAfile", ca];
    const identity = ["-cert", lab.at("rsa/server.crt"), "-key", lab.at("rsa/server.key")];
    const strict = ["-verify_return_error", "-verify_hostname", "localhost"];
    const said = await output("openssl", [...client, ...identity, ...strict]);
    assert.match(said, /Verify return code: 0 \(ok\)/);
    await output("openssl", [...client, "-tls1_2", ...identity, ...strict]);
  },
});

Deno.test({
  name: "curl reaches a server by name and by address with the CA alone",
  ...curl,
  fn: async () => {
    await using lab = await tlsLab();
    const { cert, key, ca } = await minted(lab);
    await using server = await serveTls(cert, key, ["-www"]);
    for (const name of ["localhost", "127.0.0.1"]) {
      const url = `https://${name}:${server.port}/`;
      assert.match(await output("curl", ["-sS", "--cacert", ca, url]), /<HTML>/);
    }
    const byName = ["-sS", "--cacert", ca, "--resolve", `b.lan:${server.port}:127.0.0.1`];
    await output("curl", [...byName, `https://b.lan:${server.port}/`]);
    const other = ["-sS", "--cacert", ca, "--resolve", `c.lan:${server.port}:127.0.0.1`];
    await assert.rejects(
      output("curl", [...other, `https://c.lan:${server.port}/`]),
      /ended with 60/,
    );
    await assert.rejects(
      output("curl", ["-sS", `https://localhost:${server.port}/`]),
      /ended with 60/,
    );
  },
});

const goProgram = `package main

import ("crypto/tls"; "crypto/x509"; "fmt"; "os")

func main() {
	pair, err := tls.LoadX509KeyPair(os.Args[1]+"/server.crt", os.Args[1]+"/server.key")
	if err != nil { panic(err) }
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil { panic(err) }
	pem, _ := os.ReadFile(os.Args[1] + "/ca.crt")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) { panic("no root") }
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		for _, name := range []string{"b.lan", "10.0.0.6", "localhost", "::1"} {
			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}})
			if err != nil { panic(err) }
		}
	}
	fmt.Println("verified", leaf.PublicKeyAlgorithm)
}
`;

Deno.test({
  name: "Go verifies every type of key, names and addresses",
  ...go,
  fn: async () => {
    await using lab = await tlsLab();
    await Deno.writeTextFile(lab.at("verify.go"), goProgram);
    // Without cgo the standard library builds in half the time.
    const build = ["CGO_ENABLED=0", "go", "build", "-o", lab.at("verify"), lab.at("verify.go")];
    await output("env", build, lab.path);
    for (const keyType of keyTypes) {
      const { out } = await minted(lab, keyType);
      assert.match(await output(lab.at("verify"), [out]), /verified/);
    }
  },
});

const pythonProgram = `
import socket, ssl, sys, threading
folder = sys.argv[1]
server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder + "/ca.crt")
server.load_cert_chain(folder + "/server.crt", folder + "/server.key")
server.verify_mode = ssl.CERT_REQUIRED
client = ssl.create_default_context(cafile=folder + "/ca.crt")
client.verify_flags |= ssl.VERIFY_X509_STRICT
client.load_cert_chain(folder + "/server.crt", folder + "/server.key")
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    with server.wrap_socket(listener.accept()[0], server_side=True) as peer:
        peer.sendall(str(peer.getpeercert()["subjectAltName"]).encode())
threading.Thread(target=serve, daemon=True).start()
with client.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname="b.lan") as peer:
    print("server saw", peer.recv(4096).decode())
`;

Deno.test({
  name: "Python's ssl serves and connects with our certificate, in strict mode",
  ...python,
  fn: async () => {
    await using lab = await tlsLab();
    const { out } = await minted(lab);
    const said = await output("python3", ["-c", pythonProgram, out]);
    assert.match(said, /server saw .*b\.lan/);
  },
});

Deno.test({
  name: "GnuTLS verifies every type of key",
  ...certtool,
  fn: async () => {
    await using lab = await tlsLab();
    for (const keyType of keyTypes) {
      const { cert, ca } = await minted(lab, keyType);
      const named = ["--verify-hostname", "b.lan", "--verify-purpose", "1.3.6.1.5.5.7.3.1"];
      const said = await output(
        "certtool",
        ["--verify", "--load-ca-certificate", ca, ...named]
          .concat(["--infile", cert]),
      );
      assert.match(said, /Verified\. The certificate is trusted/);
    }
  },
});

Deno.test({
  name: "after renew --ca a bundle with both CAs verifies old and new, though both have one name",
  ...openssl,
  fn: async () => {
    await using lab = await tlsLab();
    const { host, cert } = await minted(lab);
    await renewCa(host, {});
    for (const leaf of [cert, `${host.root}/server.crt`]) {
      const verify = ["verify", "-x509_strict", "-CAfile", `${host.root}/ca-bundle.crt`, leaf];
      assert.match(await output("openssl", verify), /: OK/);
    }
  },
});

Deno.test({
  name: "Chromium opens a page once the CA is in its database, and not before",
  ...browser,
  fn: async () => {
    await using lab = await tlsLab();
    const { cert, key, ca } = await minted(lab);
    const script = `set -eu
ip link set lo up
openssl s_server -www -quiet -accept 127.0.0.1:8443 -cert ${cert} -key ${key} >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT
until openssl s_client -connect 127.0.0.1:8443 </dev/null >/dev/null 2>&1; do :; done
export HOME=${lab.path}
load() {
  timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \\
    --user-data-dir=$1 --dump-dom https://localhost:8443/ 2>/dev/null
}
page() { # A request during which an interface changes is aborted; the next one is not.
  for _ in 1 2 3 4; do
    shown=$(load $1)
    case $shown in *ERR_NETWORK_CHANGED*) ;; *) break ;; esac
  done
  echo "$shown"
}
mkdir -p $HOME/.pki/nssdb
certutil -N -d sql:$HOME/.pki/nssdb --empty-password
echo "before: $(page $HOME/one | grep -c 's_server' || true)"
certutil -A -d sql:$HOME/.pki/nssdb -n CA -t C,, -i ${ca}
echo "after: $(page $HOME/two | grep -c 's_server' || true)"
`;
    await Deno.writeTextFile(lab.at("browse.sh"), script);
    const said = await output("unshare", ["--net", "sh", lab.at("browse.sh")]);
    assert.match(said, /before: 0\nafter: [1-9]/);
  },
});
