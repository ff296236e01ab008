/** Writes the parts of a release that are made from texts: man page, completions, SBOM. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { commandHelp } from "../src/cli/help.ts";
import { loadCommand, registry } from "../src/cli/registry.ts";
import completion from "../src/cli/commands/completion.ts";
import { version } from "../src/base/version.ts";

const [folder, epoch] = Deno.args;
if (folder === undefined || epoch === undefined) {
  throw new Error("release_files.ts wants the folder to write to, and the time of the release");
}
const day = new Date(Number(epoch) * 1000).toISOString().slice(0, 10);
const root = fileURLToPath(new URL("..", import.meta.url));

await Deno.writeTextFile(join(folder, "agent.1"), await manPage());
await Deno.mkdir(join(folder, "completions"));
const completions = { bash: "agent.bash", zsh: "_agent", fish: "agent.fish" };
for (const [shell, file] of Object.entries(completions)) {
  const request = { args: [shell] } as Parameters<typeof completion.run>[0];
  const { script } = await completion.run(request);
  await Deno.writeTextFile(join(folder, "completions", file), script);
}
await Deno.writeTextFile(join(folder, "sbom.cdx.json"), JSON.stringify(await sbom(), null, 2));

/** One page with the help of every command, in the macros of man(7). */
async function manPage(): Promise<string> {
  const specs = (await Promise.all(Object.keys(registry).map(loadCommand)))
    .filter((spec) => !spec.hidden);
  const sections = specs.map((spec) =>
    [`.SS agent ${escaped(spec.path)}`, ".nf", escaped(commandHelp(spec, 78).trim()), ".fi"]
      .join("\n")
  );
  return [
    `.TH AGENT 1 "${day}" "agent ${version}"`,
    ".SH NAME",
    "agent \\- private CA, task execution over mutual TLS, and an HTTPS mesh",
    ".SH SYNOPSIS",
    ".B agent",
    "\\fICOMMAND\\fR [\\fIOPTIONS\\fR]",
    ".SH COMMANDS",
    ...sections,
    "",
  ].join("\n");
}

/** A line that begins with a dot or an apostrophe would be a macro; troff reads ASCII. */
function escaped(text: string): string {
  const code = (char: string) => char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll(/^(?=[.'])/gm, "\\&")
    .replaceAll(/[^\n -~]/gu, (char) => `\\[u${code(char)}]`);
}

/** CycloneDX 1.5: every package of deno.lock, with the checksum that it was verified by. */
async function sbom() {
  const lock = JSON.parse(await Deno.readTextFile(join(root, "deno.lock"))) as {
    npm: Record<string, { integrity: string }>;
  };
  const components = Object.entries(lock.npm).map(([id, { integrity }]) => {
    const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(id)!;
    const content = integrity.replace(/^sha512-/, "");
    const bytes = Uint8Array.fromBase64(content);
    return {
      type: "library",
      name,
      version,
      purl: `pkg:npm/${name!.replace("@", "%40")}@${version}`,
      hashes: [{ alg: "SHA-512", content: bytes.toHex() }],
    };
  });
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: { component: { type: "application", name: "agent", version } },
    components: [
      { type: "framework", name: "deno", version: Deno.version.deno },
      ...components,
    ],
  };
}
