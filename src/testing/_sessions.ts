import { atomicSessionStore } from "../session/atomic_session_store.ts";
import type { Session } from "../session/session.ts";
import type { Atomic, IndexedSessionStore } from "../session/session_store.ts";
import type { Sessions } from "../session/sessions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check } from "./_check.ts";

/** The data of the sessions in the laws. */
export type Data = Record<string, unknown>;

/**
 * The subject of the laws of sessions: an engine, or a session store of your own.
 *
 * @category Laws
 */
export type SessionSubject = AtomicStore | Atomic<IndexedSessionStore>;

/** The session store of a subject. */
export function sessionStoreOf(store: SessionSubject): Atomic<IndexedSessionStore> {
  return "transact" in store ? atomicSessionStore(store) : store;
}

/** The index of a subject. */
export function indexOf(store: SessionSubject): IndexedSessionStore["index"] {
  return sessionStoreOf(store).index;
}

/** The keys of all sessions, page by page; an empty page is not the end. */
export async function keysOf(store: SessionSubject): Promise<string[]> {
  const keys: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await indexOf(store).keys({ cursor });
    keys.push(...page.keys);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return keys;
}

/** The Cookie header a browser would send after this Set-Cookie. */
export function sent(setCookie: string | undefined): string {
  check(setCookie !== undefined, "a cookie was set");
  return setCookie.split(";")[0]!;
}

/** Begins a session and answers its Cookie header. */
export async function begin(
  sessions: Sessions<Data>,
  change: (session: Session<Data>) => void,
): Promise<string> {
  const session = sessions.open(null);
  change(session);
  return sent(await sessions.commit(session));
}

/** A session store that notes what it is asked. */
export function counted(
  subject: SessionSubject,
): { store: Atomic<IndexedSessionStore>; calls: () => readonly string[] } {
  const inner = sessionStoreOf(subject);
  let calls: string[] = [];
  const noting = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value === "object" && value !== null) return noting(value);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          calls.push(String(name));
          return value.apply(target, args);
        };
      },
    });
  return {
    store: noting(inner),
    calls() {
      const noted = calls;
      calls = [];
      return noted;
    },
  };
}
