/** Why a call of the file system failed, in words for people. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { NotFound, NotADirectory, IsADirectory, FilesystemLoop, PermissionDenied, NotCapable } =
    Deno.errors;
  const code = (error as { code?: string }).code;
  if (code === "ENOSPC") return "the disk is full";
  if (code === "EDQUOT") return "the disk quota is used up";
  if (code === "EROFS") return "the file system is read-only";
  if (code === "ENAMETOOLONG") return "the path is too long";
  if (error instanceof NotFound || code === "ENOENT") return "it does not exist";
  if (error instanceof NotADirectory || code === "ENOTDIR") {
    return "a file is in the place of its folder";
  }
  if (error instanceof IsADirectory || code === "EISDIR") return "it is a folder";
  if (error instanceof FilesystemLoop || code === "ELOOP") return "its links lead in a circle";
  if (error instanceof PermissionDenied || code === "EACCES" || code === "EPERM") {
    return "permission denied";
  }
  // A sandbox grants a file by its path, so other files look absent.
  if (error instanceof NotCapable) {
    return "its folder does not exist, or this command may not use it";
  }
  return error.message;
}
