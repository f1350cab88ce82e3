/** Sealed sessions over a store whose calls overlap. */
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import { createSealedSessions, type RevocableSessions } from "@holdfast/edge/sessions";

export type Sealed = RevocableSessions<Record<string, unknown>>;

export const KEYS = [{ id: "a", secret: "A".repeat(43) }] as const;

/** The Cookie header after a Set-Cookie header. */
export const sent = (setCookie: string | undefined): string => setCookie!.split(";")[0]!;

/**
 * A store whose calls take effect after a while and answer after another, so that those of parallel requests
 * mix.
 */
export function far(store: AtomicStore, pause: () => Promise<void> = turns): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name === "namespace") return (part: string) => far(target.namespace(part), pause);
      if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: Parameters<AtomicStore["transact"]>) => {
        await pause();
        const output = await target.transact(...args);
        await pause();
        return output;
      };
    },
  });
}

/** A few turns of the event loop. */
async function turns(): Promise<void> {
  for (let left = Math.floor(Math.random() * 4); left > 0; left--) {
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
  }
}

export function sealedOn(revocation: AtomicStore = far(memoryStore())): Sealed {
  return createSealedSessions({ keys: [...KEYS] as [typeof KEYS[0]], revocation });
}

/** Logs a user in and answers the cookie. */
export async function login(sessions: Sealed, user = "ada"): Promise<string> {
  const session = sessions.open(null);
  session.login(user);
  return sent(await sessions.commit(session));
}
