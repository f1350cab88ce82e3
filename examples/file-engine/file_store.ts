/** A working engine in less than sixty lines: a folder with a file a key, shared by the processes of one machine. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { type AtomicStore, atomicStore } from "@holdfast/edge";

/** A store in a folder. */
export function fileStore(folder: string): AtomicStore {
  fs.mkdirSync(folder, { recursive: true });
  const pathOf = (key: string) => `${folder}/${createHash("sha256").update(key).digest("hex")}`;

  function read(path: string) {
    try {
      const found = JSON.parse(fs.readFileSync(path, "utf8"));
      return Date.now() >= (found.expiresAt ?? Infinity) ? undefined : found; // dead at its deadline
    } catch {
      return undefined; // there is none
    }
  }

  /** Runs `work` while no other process has the key. */
  async function locked<T>(path: string, work: () => T): Promise<T> {
    for (;;) {
      try {
        fs.closeSync(fs.openSync(path + ".lock", "wx"));
        break;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
      }
    }
    try {
      return work();
    } finally {
      fs.rmSync(path + ".lock");
    }
  }

  return atomicStore({
    name: "file",
    limits: { maxKeyBytes: 240, maxValueLength: 1_000_000 },
    transact(transition, key, input) {
      const path = pathOf(key);
      return locked(path, () => {
        const { output, write } = transition.apply(read(path)?.record, input, Date.now());
        if (write?.record) {
          fs.writeFileSync(path + ".new", JSON.stringify({ key, ...write }));
          fs.renameSync(path + ".new", path); // a reader sees the old file or the new one
        } else if (write) fs.rmSync(path, { force: true });
        return output;
      });
    },
    list({ prefix, cursor = "", limit }) {
      const files = fs.readdirSync(folder).filter((name) => !name.includes("."));
      const found = files.flatMap((name): string[] => read(`${folder}/${name}`)?.key ?? []);
      const keys = found.filter((key) => key.startsWith(prefix) && key > cursor).sort();
      return { keys: keys.slice(0, limit), ...(keys.length > limit && { cursor: keys[limit - 1]! }) };
    },
  });
}
