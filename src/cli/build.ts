/** Packaging writes the commit in place of this text; from a checkout it stays as it is. */
const commit = "@commit-of-the-build@";

export const build: { commit: string | undefined } = {
  commit: commit.startsWith("@") ? undefined : commit,
};
