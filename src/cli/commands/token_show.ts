import { command } from "../command.ts";
import { identityFiles } from "../../pki/directory/identity_files.ts";
import { noGrants } from "../../sandbox/grants.ts";

export default command({
  path: "token show",
  summary: "Print the bearer token of this host's node",
  description: "Anyone who has the token may do everything that the API of the node offers.",
  options: {},
  config: ["log"],
  examples: [
    { line: "agent token show", does: "Print the token alone" },
    { line: "agent token show --json", does: "With the file that it is in" },
  ],
  grants: ({ env }) => ({ ...noGrants, read: [identityFiles(env).token] }),
  run: async ({ env }) => {
    const { loadToken } = await import("../../mesh/identity.ts");
    const { token: file } = identityFiles(env);
    return { token: loadToken(file), file };
  },
  text: ({ token }) => token,
});
