import { printable } from "../../base/printable.ts";
import {
  type ConfigKey,
  configKeys,
  configSections,
  settingOf,
  variableOf,
} from "../../config/schema.ts";
import { showValue } from "../../config/values.ts";
import { command } from "../command.ts";
import { colors } from "../output/terminal.ts";
import { type Cell, table } from "../output/table.ts";

export default command({
  path: "config show",
  summary: "Show every effective setting and where it came from",
  description:
    `A flag wins over the environment, the environment over the configuration file, the file
    over the default. With peer.insecure=false and none of the three files set, an enabled TLS
    directory supplies certificate, key and CA. Give flags of settings here to see what they would
    change.`,
  options: {},
  config: configSections,
  describesSettings: true,
  examples: [
    { line: "agent config show", does: "Show a table of all settings" },
    { line: "agent config show --json", does: "The same for programs" },
    {
      line: "agent config show --peer.insecure=false",
      does: "Show what that flag would change",
    },
  ],
  run: ({ config }) => ({
    file: config.file ?? null,
    settings: configKeys.map((key) => ({
      key,
      value: config.values[key] ?? null,
      // As it is written on a command line.
      text: textOf(key, config.values[key]),
      origin: config.origins[key],
      variable: variableOf(key),
    })),
  }),
  text: ({ file, settings }, { env }) => {
    const { dim, green } = colors(env.stdout);
    const rows = settings.map(({ key, text, origin }): Cell[] => [
      key,
      printable(text || "-"),
      { text: printable(origin), paint: origin === "default" ? dim : green },
    ]);
    const columns = [{ title: "KEY" }, { title: "VALUE" }, { title: "ORIGIN" }];
    return `${table(columns, rows, { paintTitle: dim })}\nConfiguration file: ${file ?? "none"}`;
  },
});

function textOf(key: ConfigKey, value: unknown): string | null {
  return value === undefined ? null : showValue(settingOf(key), value);
}
