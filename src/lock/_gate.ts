import type { Clock } from "../clock.ts";
import { canResolveElsewhere, LOOK_INTERVAL } from "../cross_request.ts";
import { deferred } from "../deferred.ts";
import { callAfter } from "../call_after.ts";
import { PerBinding } from "../store/binding.ts";

/** The interval at which a waiting acquisition shows that it is alive, in milliseconds. */
const BEAT = 1000;

/**
 * After how long without a sign an acquisition counts as dead, in milliseconds: on Workers a cancelled
 * request just stops, and no `finally` of it runs. Three beats, so that one late timer does not break the
 * order.
 */
export const SILENCE = 3000;

/** The acquisitions of one process that wait for one key, in the order in which they came. */
interface Line {
  readonly key: string;
  first: Place | undefined;
  last: Place | undefined;
  /** The first place that does not contend yet. */
  next: Place | undefined;
  contending: number;
  waiting: number;
  /** Whether a contender wants the lock alone. */
  alone: boolean;
}

const gates = /* @__PURE__ */ new PerBinding<Gate>();

/**
 * The gate of the store's binding and namespace: on Workers, where each request makes a store of its own, one
 * for the isolate.
 */
export function gateOf(store: object): Gate {
  return gates.get(store, () => new Gate());
}

/**
 * A gate in front of the engine: of the acquisitions of one process that wait for a key, only the first
 * contends there (of a shared lock, as many as fit). The others wait in line, first come, first served, and
 * cost the engine nothing.
 *
 * No acquisition depends on another one's end. Each has a timer of its own and looks at the one before it: a
 * place that shows no sign of life is taken out of the line, and its follower moves up.
 */
export class Gate {
  readonly #lines = new Map<string, Line>();

  /** A place at the end of the key's line. `limit`: how many may hold the lock together. */
  join(key: string, limit: number, clock: Clock): Place {
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = {
        key,
        first: undefined,
        last: undefined,
        next: undefined,
        contending: 0,
        waiting: 0,
        alone: false,
      };
      this.#lines.set(key, line);
    }
    const place = new Place(this, line, limit, clock);
    place.before = line.last;
    if (line.last) line.last.after = place;
    else line.first = place;
    line.last = place;
    line.next ??= place;
    line.waiting++;
    this.#advance(line);
    return place;
  }

  /** The number of acquisitions that wait behind those that contend. */
  waiting(key: string): number {
    return this.#lines.get(key)?.waiting ?? 0;
  }

  /** Tells the contenders that the lock was released in this process, where the engine cannot notify them. */
  notify(key: string): void {
    for (let place = this.#lines.get(key)?.first; place?.contends; place = place.after) place.onRelease?.();
  }

  /** Takes a place out of its line. */
  remove(line: Line, place: Place): void {
    if (place.gone) return;
    place.gone = true;
    const { before, after } = place;
    if (before) before.after = after;
    else line.first = after;
    if (after) after.before = before;
    else line.last = before;
    if (line.next === place) line.next = after;
    if (place.contends) {
      line.contending--;
      if (place.limit <= 1) line.alone = false;
    } else line.waiting--;
    if (line.first === undefined) {
      if (this.#lines.get(line.key) === line) this.#lines.delete(line.key);
    } else this.#advance(line);
  }

  /** Lets the next places contend while they fit: the same rule as for holders of a lock. */
  #advance(line: Line): void {
    for (let place = line.next; place; place = line.next) {
      if (line.contending > 0 && (line.alone || line.contending >= place.limit)) return;
      line.next = place.after;
      line.contending++;
      line.waiting--;
      line.alone = place.limit <= 1;
      place.contends = true;
      place.onTurn?.();
    }
  }
}

/** The place of one acquisition in its line. */
export class Place {
  readonly limit: number;
  before: Place | undefined;
  after: Place | undefined;
  contends = false;
  gone = false;
  /** Called when it may contend. */
  onTurn: (() => void) | undefined;
  /** Called when the lock was released in this process. */
  onRelease: (() => void) | undefined;
  readonly #gate: Gate;
  readonly #line: Line;
  readonly #clock: Clock;
  /** Takes back the timer of the next sign of life. */
  #stopBeating: (() => void) | undefined;
  /** Whether the place before this one, of another request perhaps, may wake it. */
  readonly #wakes = canResolveElsewhere();
  #seenAt: number;

  constructor(gate: Gate, line: Line, limit: number, clock: Clock) {
    this.#gate = gate;
    this.#line = line;
    this.limit = limit;
    this.#clock = clock;
    this.#seenAt = clock.monotonic();
  }

  /**
   * Waits until this acquisition may contend, or until `giveUpAt`.
   *
   * @throws the signal's reason
   */
  async enter(giveUpAt: number, signal: AbortSignal | undefined): Promise<void> {
    while (!this.contends && !this.gone) {
      signal?.throwIfAborted();
      const left = giveUpAt - this.#clock.monotonic();
      if (left <= 0) return;
      const began = this.#clock.monotonic();
      // Another request may only resolve a promise of this one: on Workers, its timers and signals are out of
      // reach.
      const turn = deferred<void>();
      if (this.#wakes) this.onTurn = turn.resolve;
      const wake = () => turn.resolve();
      signal?.addEventListener("abort", wake, { once: true });
      const length = Math.min(this.#wakes ? BEAT : LOOK_INTERVAL, left);
      const takeBack = callAfter(this.#clock, length, wake);
      await turn.promise;
      takeBack();
      signal?.removeEventListener("abort", wake);
      this.onTurn = undefined;
      this.#beat(began);
    }
    signal?.throwIfAborted();
    if (this.contends && !this.gone) this.#keepBeating();
  }

  /** Leaves the line: the lock was granted, or is not wanted any more. */
  leave(): void {
    this.#stopBeating?.();
    this.#gate.remove(this.#line, this);
  }

  /** Shows a sign of life, and removes those before this one that show none. */
  #beat(began: number): void {
    const now = this.#seenAt = this.#clock.monotonic();
    // A busy runtime fires all timers late: then the others may be as alive as this one.
    if (now - began > BEAT * 1.5) return;
    while (this.before && now - this.before.#seenAt > SILENCE) this.#gate.remove(this.#line, this.before);
  }

  #keepBeating(): void {
    const began = this.#clock.monotonic();
    this.#stopBeating = callAfter(this.#clock, BEAT, () => {
      this.#beat(began);
      this.#keepBeating();
    });
  }
}
