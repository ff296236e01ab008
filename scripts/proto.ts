/**
 * Generates `src/peer/gen` from `src/peer/proto`: TypeScript by ts-proto, driven by buf, and the
 * descriptors that the reflection service returns. `--check` generates elsewhere and compares,
 * lints names and layout of the protos with buf, and refuses what the last release (tests/wire/proto)
 * would not understand.
 *
 * Both tools come from npm, with exact versions, into the user's cache; after that it works offline.
 */
const versions = { buf: "1.75.0", "ts-proto": "2.18.0" };

const root = new URL("../", import.meta.url).pathname;
const protos = `${root}src/peer/proto`;
const generated = `${root}src/peer/gen`;

const options = [
  "outputServices=grpc-js",
  "esModuleInterop=true",
  "importSuffix=.ts",
  "env=node",
  "useExactTypes=false",
  "oneof=unions-value",
  // A number beyond 2^53 is a caller's mistake, not a failure to decode.
  "forceLong=bigint",
  // A plain object would lose the key "__proto__".
  "useMapType=true",
  "snakeToCamel=keys",
  "outputJsonMethods=false",
  "outputPartialMethods=false",
];

async function main(args: string[]): Promise<void> {
  if (args.length > 1 || (args[0] ?? "--check") !== "--check") {
    fail("usage: scripts/proto [--check]");
  }
  const tools = await installTools();
  const buf = `${tools}/node_modules/${bufPackage()}/bin/buf`;
  if (args[0] !== "--check") {
    await run(buf, ["format", "--write", "."]);
    return await generate(buf, tools, generated);
  }
  await run(buf, ["lint", "."]);
  await run(buf, ["breaking", ".", "--against", `${root}tests/wire/proto`]);
  await run(buf, ["format", "--diff", "--exit-code", "."]);
  const fresh = await Deno.makeTempDir({ prefix: "agent-proto-" });
  try {
    await generate(buf, tools, fresh);
    const [wanted, found] = [await contents(fresh), await contents(generated)];
    const names = new Set([...wanted.keys(), ...found.keys()]);
    const stale = [...names].filter((name) => wanted.get(name) !== found.get(name));
    if (stale.length > 0) fail(`src/peer/gen is stale (${stale.join(", ")}): run scripts/proto`);
  } finally {
    await Deno.remove(fresh, { recursive: true });
  }
}

/** buf's package for this system contains the executable and needs no install script. */
function bufPackage(): string {
  const os = Deno.build.os === "windows" ? "win32" : Deno.build.os;
  const arch = Deno.build.arch === "x86_64" ? "x64" : "arm64";
  return `@bufbuild/buf-${os}-${arch}`;
}

async function installTools(): Promise<string> {
  const home = Deno.env.get("HOME") ?? "/root";
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`;
  const tools = `${cache}/agent/proto-${versions.buf}-${versions["ts-proto"]}`;
  if (await exists(tools)) return tools;
  // Under another name first: an interrupted install, or two at once, leave nothing incomplete.
  const work = `${tools}.${Deno.pid}`;
  await Deno.mkdir(work, { recursive: true });
  const dependencies = { [bufPackage()]: versions.buf, "ts-proto": versions["ts-proto"] };
  await Deno.writeTextFile(`${work}/package.json`, JSON.stringify({ dependencies }));
  await run(Deno.execPath(), ["install", "--quiet", "--no-prompt"], work);
  await Deno.rename(work, tools).catch(async (error) => {
    if (!await exists(tools)) throw error;
    await Deno.remove(work, { recursive: true });
  });
  return tools;
}

async function generate(buf: string, tools: string, out: string): Promise<void> {
  const plugin = `${tools}/node_modules/ts-proto/protoc-gen-ts_proto`;
  const template = {
    version: "v2",
    clean: true,
    plugins: [{
      local: [
        Deno.execPath(),
        "run",
        "-A",
        "--no-prompt",
        "--no-config",
        "--unstable-detect-cjs",
        plugin,
      ],
      out,
      opt: options,
      include_imports: true,
    }],
  };
  await run(buf, ["generate", "--template", JSON.stringify(template), "."]);
  for (const name of (await contents(out)).keys()) await adapt(out, name);
  const image = ["build", "--as-file-descriptor-set", "--exclude-source-info", "-o"];
  const bytes = await run(buf, [...image, "-#format=binpb", "."]);
  const json = JSON.parse(
    new TextDecoder().decode(await run(buf, [...image, "-#format=json", "."])),
  );
  await Deno.writeTextFile(`${out}/descriptors.ts`, descriptors(json.file, filesOf(bytes)));
}

/**
 * Changes what ts-proto writes: it has no options for these. Deno needs Buffer imported, and lints
 * generated code in its own way. `Buffer.from` of bytes copies them, where a view will do, and the
 * library's writer copies large fields twice; ours does once (peer/message_writer.ts). For a chunk of
 * a log of 256 KiB, encoded, serialized and decoded, this takes 0.013 ms in place of 0.067 on Deno
 * 2.9.6, and 0.024 in place of 0.317 on 2.7.14, where that is a quarter of sending it.
 *
 * The clients of grpc-js go: ours needs only the definitions of the methods (peer/client/call.ts), and a
 * command that imports grpc-js takes 45 ms longer.
 */
async function adapt(out: string, name: string): Promise<void> {
  const path = `${out}/${name}`;
  const peer = "../".repeat(name.split("/").length);
  const text = (await Deno.readTextFile(path)).replace(
    'import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";',
    'import { BinaryReader, type BinaryWriter } from "@bufbuild/protobuf/wire";\n' +
      `import { MessageWriter } from "${peer}message_writer.ts";`,
  ).replaceAll("new BinaryWriter()", "new MessageWriter()");
  const viewed = withoutClients(text).replaceAll("Buffer.from(", "viewOf(");
  const head = [
    "// deno-lint-ignore-file",
    /\bBuffer\b/.test(text) ? 'import { Buffer } from "node:buffer";' : "",
    !viewed.includes("viewOf(")
      ? ""
      : "const viewOf = (of: Uint8Array) => Buffer.from(of.buffer, of.byteOffset, of.byteLength);",
  ];
  await Deno.writeTextFile(path, head.filter((line) => line !== "").join("\n") + `\n${viewed}`);
}

function withoutClients(text: string): string {
  return text
    .replaceAll(/^export const \w+Client = makeGenericClientConstructor\([^]*?^};\n\n?/gm, "")
    .replaceAll(/^export interface \w+Client extends Client {[^]*?^}\n\n?/gm, "")
    .replace(/^import {([^}]*)} from "@grpc\/grpc-js";/m, (_, names: string) => {
      const kept = names.split(",").map((name) => name.trim()).filter((name) =>
        /^type (handle\w+|UntypedServiceImplementation)$/.test(name)
      );
      return `import type { ${
        kept.map((name) => name.slice(5)).join(", ")
      } } from "@grpc/grpc-js";`;
    });
}

interface FileJson {
  name: string;
  package: string;
  dependency?: string[];
  messageType?: MessageJson[];
  enumType?: { name: string }[];
  service?: { name: string; method?: { name: string }[] }[];
}
interface MessageJson {
  name: string;
  nestedType?: MessageJson[];
  enumType?: { name: string }[];
}

function descriptors(files: FileJson[], bytes: Uint8Array[]): string {
  const entries = files.map((file, index) => ({
    name: file.name,
    dependencies: file.dependency ?? [],
    services: (file.service ?? []).map((service) => `${file.package}.${service.name}`),
    symbols: [
      ...(file.messageType ?? []).flatMap((message) => messageSymbols(file.package, message)),
      ...(file.enumType ?? []).map(({ name }) => `${file.package}.${name}`),
      ...(file.service ?? []).flatMap(({ name, method = [] }) => [
        `${file.package}.${name}`,
        ...method.map((each) => `${file.package}.${name}.${each.name}`),
      ]),
    ],
    base64: btoa(String.fromCharCode(...bytes[index]!)),
  }));
  return `// Generated by scripts/proto. DO NOT EDIT.
// deno-lint-ignore-file

/** One proto file, as the reflection service returns it. */
export interface FileDescriptor {
  name: string;
  dependencies: string[];
  services: string[];
  /** Fully qualified names of everything that it declares. */
  symbols: string[];
  /** A serialized google.protobuf.FileDescriptorProto. */
  base64: string;
}

export const fileDescriptors: FileDescriptor[] = ${JSON.stringify(entries, null, 2)};
`;
}

function messageSymbols(scope: string, message: MessageJson): string[] {
  const own = `${scope}.${message.name}`;
  return [
    own,
    ...(message.nestedType ?? []).flatMap((nested) => messageSymbols(own, nested)),
    ...(message.enumType ?? []).map(({ name }) => `${own}.${name}`),
  ];
}

/** Splits a FileDescriptorSet, whose only field (1, length-delimited) is the list of files. */
function filesOf(set: Uint8Array): Uint8Array[] {
  const files: Uint8Array[] = [];
  for (let at = 0; at < set.length;) {
    if (set[at++] !== 0x0a) fail("buf wrote something other than a FileDescriptorSet");
    let length = 0;
    for (let shift = 0;; shift += 7) {
      const byte = set[at++]!;
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    files.push(set.subarray(at, at + length));
    at += length;
  }
  return files;
}

/** Every file below a folder, by its path in it. */
async function contents(folder: string, prefix = ""): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  if (!await exists(folder)) return files;
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (!entry.isDirectory) files.set(prefix + entry.name, await Deno.readTextFile(path));
    else for (const pair of await contents(path, `${prefix}${entry.name}/`)) files.set(...pair);
  }
  return files;
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, (error) => {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  });
}

async function run(program: string, args: string[], cwd = protos): Promise<Uint8Array> {
  const command = new Deno.Command(program, { args, cwd, stdout: "piped", stderr: "inherit" });
  const { code, stdout } = await command.output();
  if (code === 0) return stdout;
  await Deno.stderr.write(stdout);
  fail(`${program.split("/").at(-1)} ${args[0]} ended with ${code}`);
}

function fail(message: string): never {
  Deno.stderr.writeSync(new TextEncoder().encode(`scripts/proto: ${message}\n`));
  Deno.exit(1);
}

await main(Deno.args);
