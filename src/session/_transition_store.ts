/** The session store over transitions, on any engine that runs them. */
import { isStoreFull } from "../fault_class.ts";
import type { Awaitable } from "../store/engine.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { sessionFields, type SessionRecord, sessionRecord } from "./session_record.ts";
import type {
  IndexedSessionStore,
  SessionChange,
  SessionDelete,
  SessionEnd,
  SessionFound,
  SessionIndex,
  SessionSaved,
} from "./session_store.ts";
import {
  commitSession,
  createSession,
  endSession,
  loadSession,
  putSession,
  replaceSession,
} from "./session_transitions.ts";

/** Runs a transition on a session's record. */
export type Run = (
  transition: Transition,
  key: string,
  input: Fields,
  options?: CallOptions,
) => Awaitable<Fields>;

/** A session store that is nothing but its transitions. */
export class TransitionSessionStore<Consistency extends "atomic" | "eventual">
  implements IndexedSessionStore {
  readonly consistency: Consistency;
  readonly index: SessionIndex;
  readonly #run: Run;
  readonly #keep: string;

  constructor(consistency: Consistency, run: Run, index: SessionIndex, remember: number) {
    this.consistency = consistency;
    this.index = index;
    this.#run = run;
    this.#keep = String(remember);
  }

  async load(key: string, options?: CallOptions): Promise<SessionFound> {
    return await this.loadDirectly(key, options);
  }

  /** The same, without a promise where the engine answers at once. */
  loadDirectly(key: string, options?: CallOptions): Awaitable<SessionFound> {
    const reply = this.#run(loadSession, key, NOTHING, options);
    return reply instanceof Promise ? reply.then(found) : found(reply);
  }

  async save(key: string, change: SessionChange, options?: CallOptions): Promise<SessionSaved> {
    const [transition, input] = step(change);
    input.keep = this.#keep;
    const reply = this.#run(transition, key, input, options);
    const output = reply instanceof Promise ? await reply : reply;
    if (output.done === "1") {
      return { state: "saved", record: change.type === "put" ? change.record : sessionRecord(output) };
    }
    if (output.done === "2") return { state: "conflict", record: sessionRecord(output) };
    return ended(output);
  }

  async delete(key: string, change: SessionDelete): Promise<SessionRecord | undefined> {
    const { why, absent, lasting, next, ...options } = change;
    const input = {
      why,
      keep: this.#keep,
      ...(absent === "tombstone" && { bury: "1" }),
      ...(lasting && { lasting: "1" }),
      ...(next !== undefined && { next }),
    };
    let output: Fields;
    try {
      output = await this.#run(endSession, key, input, options);
    } catch (error) {
      output = await this.#forget(key, change, input, error);
    }
    return output.handle === undefined ? undefined : sessionRecord(output);
  }

  /**
   * Deletes the record where a tombstone found no space: a logout must not leave the session alive. Lost is
   * the reason, so late requests of the session come with an unknown token. Where more depends on the
   * tombstone the fault is thrown instead: after a rotation it leads a late logout to the next session, a
   * tombstone keeps out a session that is being created, and a lasting one keeps out copies.
   */
  async #forget(key: string, change: SessionDelete, input: Fields, fault: unknown): Promise<Fields> {
    const { why, absent, lasting, next: _next, ...options } = change;
    if (!isStoreFull(fault) || why !== "revoked" || lasting) throw fault;
    const output = await this.#run(endSession, key, { ...input, forget: "1" }, options);
    if (output.handle === undefined && absent === "tombstone") throw fault;
    return output;
  }

  async exists(key: string, options?: CallOptions): Promise<boolean> {
    return (await this.load(key, options)).state === "live";
  }
}

const NOTHING: Fields = {};

/** The session of a reply. */
function found(output: Fields): SessionFound {
  return output.handle === undefined ? ended(output) : { state: "live", record: sessionRecord(output) };
}

/** The answer about a session that is not live. */
function ended({ why, ago, next }: Fields): Extract<SessionSaved, { readonly state: "ended" | "unknown" }> {
  if (why === undefined) return { state: "unknown" };
  return {
    state: "ended",
    why: why as SessionEnd,
    ...(ago !== undefined && { ago: Number(ago) }),
    ...(next !== undefined && { next }),
  };
}

/** A change as a transition and its input. */
function step(change: SessionChange): [Transition, Record<string, string>] {
  if (change.type === "put") {
    const { record, ifVersion } = change;
    return [putSession, {
      ...sessionFields(record),
      ...(ifVersion !== undefined && { expected: String(ifVersion) }),
    }];
  }
  const input: Record<string, string> = {};
  if (change.type === "update") {
    Object.assign(input, change.set);
    for (const field of change.unset ?? []) input[`unset:${field}`] = "";
    if (change.schemaVersion !== undefined) input.schema = String(change.schemaVersion);
    if (change.writerVersion !== undefined) input.writer = String(change.writerVersion);
    if (change.checked) input.checked = "1";
    if (change.ifVersion === undefined) return [commitSession, input];
    input.expected = String(change.ifVersion);
    return [replaceSession, input];
  }
  Object.assign(input, change.values);
  input.handle = change.handle;
  input.idle = String(change.idleTimeout);
  input.schema = String(change.schemaVersion);
  if (change.continues === undefined) input.life = String(change.absoluteTimeout);
  else {
    input.created = String(change.continues.createdAt);
    input.ends = String(change.continues.endsAt);
  }
  if (change.bornAt !== undefined) input.born = String(change.bornAt);
  if (change.userId !== undefined) input.user = change.userId;
  if (change.authenticatedAt !== undefined) input.login = String(change.authenticatedAt);
  return [createSession, input];
}
