/** Certificates made by OpenSSL, so that the code under test does not make its own input. */
import { join } from "node:path";

export interface Issued {
  certFile: string;
  keyFile: string;
}

export interface IssueOptions {
  /** In OpenSSL's format: "DNS:localhost", "IP:127.0.0.1". */
  names?: string[];
  /** Default: serverAuth and clientAuth. */
  usage?: string;
  /** Days from now; negative: days since expiry. */
  days?: number;
  subject?: string;
  /** Kind of its key, as `openssl req -newkey` takes it; EC P-256 unless given. */
  key?: string;
}

export interface Authority {
  folder: string;
  caFile: string;
  issue(name: string, options?: IssueOptions): Promise<Issued>;
}

async function openssl(folder: string, args: string[], input = ""): Promise<void> {
  const child = new Deno.Command("openssl", {
    args,
    cwd: folder,
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(input));
  await writer.close();
  const { code, stderr } = await child.output();
  if (code !== 0) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}

/** Makes a CA below a folder. Two with the same `subject` differ only in their key. */
export async function makeAuthority(
  parent: string,
  name = "ca",
  subject = "/CN=Test CA",
): Promise<Authority> {
  const folder = join(parent, name);
  await Deno.mkdir(folder);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await openssl(folder, [
    ...["req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", subject],
    ...["-days", "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
  ]);
  return {
    folder,
    caFile: join(folder, "ca.crt"),
    async issue(leaf, options = {}) {
      const { names = ["DNS:localhost", "IP:127.0.0.1", "IP:::1"], days = 10 } = options;
      const { usage = "serverAuth,clientAuth", subject = `/CN=${leaf}` } = options;
      await openssl(folder, [
        ...["req", ...options.key === undefined ? key : ["-newkey", options.key, "-nodes"]],
        ...["-keyout", `${leaf}.key`, "-out", `${leaf}.csr`, "-subj", subject],
      ]);
      const extensions = [
        "basicConstraints=critical,CA:FALSE",
        `extendedKeyUsage=${usage}`,
        ...(names.length === 0 ? [] : [`subjectAltName=${names.join(",")}`]),
      ];
      await Deno.writeTextFile(join(folder, `${leaf}.ext`), extensions.join("\n"));
      await openssl(folder, [
        ...["x509", "-req", "-in", `${leaf}.csr`, "-CA", "ca.crt", "-CAkey", "ca.key"],
        ...["-set_serial", serial(), "-extfile", `${leaf}.ext`, "-out", `${leaf}.crt`],
        ...["-days", String(days)],
      ]);
      return { certFile: join(folder, `${leaf}.crt`), keyFile: join(folder, `${leaf}.key`) };
    },
  };
}

/** Random, because several may be issued at the same time. */
function serial(): string {
  return `0x${crypto.randomUUID().replaceAll("-", "").slice(1)}`;
}
