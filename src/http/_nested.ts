/**
 * Mounts of one helper around each other: on an app and on its route, or `withX` around `withX`. The inner
 * one would meet the key that the outer one holds, and refuse every request. It knows the outer one by the
 * value that this one handed to it (`context.lock`, `c.var.lock`): requests at the same time never share
 * that, as they may share a request object.
 */
import { bindingOf } from "../store/binding.ts";
import { RequestValues } from "./request_values.ts";

/** A key that a request holds while it is served. */
export interface Mount {
  /** The store of the key. */
  readonly store: object;
  /** The namespace of the key. */
  readonly name: string;
  readonly key: string;
  readonly options: object;
}

/** A mount, and the value it handed on. */
interface Outer<Value> extends Mount {
  readonly value: Value;
  /** The value that stood there before. */
  readonly around: unknown;
}

/** The mounts of one kind of helper. */
export class Mounts<Value extends object> {
  readonly #known = new RequestValues<Outer<Value>>();

  /** Notes what the mount hands on, and what it was handed itself. */
  note(mount: Mount, value: Value, around: unknown): void {
    const { store, name, key, options } = mount; // a spread with more members costs Node ten times as much
    this.#known.set(value, { store, name, key, options, value, around });
  }

  /** The mount around this one that holds the same key of the same store, if there is one. */
  holder({ store, name, key }: Mount, handed: unknown): Outer<Value> | undefined {
    const mine = bindingOf(store);
    for (let outer = this.#find(handed); outer !== undefined; outer = this.#find(outer.around)) {
      const { object, scope } = bindingOf(outer.store);
      const same = object === mine.object && scope === mine.scope;
      if (same && outer.name === name && outer.key === key) return outer;
    }
    return undefined;
  }

  #find(value: unknown): Outer<Value> | undefined {
    return typeof value === "object" && value !== null ? this.#known.get(value) : undefined;
  }
}

/** The error of an inner mount that would meet the outer one's key. */
export function twice(task: string, helper: string): TypeError {
  return new TypeError(
    `Cannot ${task} as ${helper} is mounted twice for this request, with different options but the same key: ` +
      "mount it once, with the same options, or give one of the two another 'name'",
  );
}
