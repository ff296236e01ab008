import { command } from "../command.ts";
import { stagedName } from "../../base/fs/atomic_file.ts";
import { identityFiles } from "../../pki/directory/identity_files.ts";
import { noGrants } from "../../sandbox/grants.ts";
import { makeConfigFolder } from "../../sandbox/tls.ts";

export default command({
  path: "token rotate",
  summary: "Replace the bearer token of this host's node",
  description:
    `A running node uses the new token within a second and ends all sessions. Programs that
    use the old one need the new one.`,
  options: {},
  config: ["log"],
  examples: [{ line: "agent token rotate", does: "Use it after the token was leaked" }],
  grants: async ({ env }) => {
    await makeConfigFolder(env);
    const { token } = identityFiles(env);
    const files = [token, stagedName(token)];
    return { ...noGrants, read: files, write: files };
  },
  run: async ({ env }) => {
    const { rotateToken } = await import("../../mesh/identity.ts");
    const { token: file } = identityFiles(env);
    rotateToken(file);
    return { file };
  },
  text: ({ file }) =>
    `Wrote a new token to ${file}; all sessions have ended\nNext: agent token url`,
});
