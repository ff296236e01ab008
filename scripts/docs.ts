/**
 * Writes the generated parts of docs/commands.md and docs/settings.md, from the registry of commands
 * and the schema of settings. They stand between comments: `<!-- generated: NAME -->` and
 * `<!-- end of NAME -->`; the rest of the pages is written by hand. With --check nothing is written,
 * and a part that differs is an error.
 */
import { fileURLToPath } from "node:url";
import { configDefault } from "../src/cli/flags.ts";
import { commandHelp } from "../src/cli/help.ts";
import { loadCommand, registry } from "../src/cli/registry.ts";
import {
  configKeys,
  configSections,
  flagOf,
  sectionOf,
  settingOf,
  variablesOf,
} from "../src/config/schema.ts";

/** As wide as the program itself writes at most. */
const helpWidth = 100;

const specs = (await Promise.all(Object.keys(registry).map(loadCommand)))
  .filter((spec) => !spec.hidden);

const pages: Record<string, Record<string, string>> = {
  "docs/commands.md": { "list of commands": commandList(), commands: commandHelps() },
  "docs/settings.md": { settings: settingTables() },
};

const check = Deno.args.includes("--check");
for (const [page, parts] of Object.entries(pages)) {
  const file = fileURLToPath(new URL(`../${page}`, import.meta.url));
  const before = await Deno.readTextFile(file);
  let text = before;
  for (const [name, part] of Object.entries(parts)) text = replaced(page, text, name, part);
  text = await formatted(text);
  if (text === before) continue;
  if (check) {
    const message = `${page} differs from the program; run scripts/docs\n`;
    await Deno.stderr.write(new TextEncoder().encode(message));
    Deno.exit(1);
  }
  await Deno.writeTextFile(file, text);
}

function replaced(page: string, text: string, name: string, part: string): string {
  const [start, end] = [`<!-- generated: ${name} -->`, `<!-- end of ${name} -->`];
  const [from, to] = [text.indexOf(start), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${page} has no part "${name}"`);
  return `${text.slice(0, from + start.length)}\n\n${part}\n\n${text.slice(to)}`;
}

function commandList(): string {
  const rows = specs.map(({ path, summary }) =>
    `| [\`agent ${path}\`](#agent-${path.replaceAll(" ", "-")}) | ${cell(summary)} |`
  );
  return ["| command | does |", "| --- | --- |", ...rows].join("\n");
}

/** The help that the program prints, without the flags that all commands have. */
function commandHelps(): string {
  return specs.map((spec) => {
    const help = commandHelp(spec, helpWidth).replace(/\nCommon flags:\n(.+\n)+/, "");
    return `### agent ${spec.path}\n\n\`\`\`text\n${help}\`\`\``;
  }).join("\n\n");
}

function settingTables(): string {
  return configSections.map((section) => {
    const rows = configKeys.filter((key) => sectionOf(key) === section).map((key) => {
      const { short, alias, help } = settingOf(key);
      const flags = [short && `-${short}`, alias && `--${alias}`, `--${flagOf(key)}`];
      const names = flags.filter((flag) => flag !== undefined).concat(variablesOf(key));
      const spelled = names.map((name) => `\`${name}\``).join(", ");
      return `| \`${key}\` | ${spelled} | ${cell(configDefault(key) ?? "none")} | ${cell(help)} |`;
    });
    const head = [
      "| setting | flags and variables | default | meaning |",
      "| --- | --- | --- | --- |",
    ];
    return [`### ${section}`, "", ...head, ...rows].join("\n");
  }).join("\n\n");
}

/** Text that would end a cell is escaped. */
function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** As `deno fmt` leaves the page, so that formatting it changes nothing. */
async function formatted(text: string): Promise<string> {
  const config = fileURLToPath(new URL("../deno.json", import.meta.url));
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--config", config, "--ext", "md", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new Error("deno fmt failed");
  return new TextDecoder().decode(stdout);
}
