/** A store as another process has it: what is kept per binding (a gate of waiters) is not shared with other stores. */
import type { AtomicStore } from "@holdfast/edge";
import { BINDING } from "../../src/store/binding.ts";

/** The store, with a binding of its own. */
export function ownProcess(
  store: AtomicStore,
  object: object = {},
  path: readonly string[] = [],
): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === BINDING) return { object, scope: JSON.stringify(path) };
      if (name === "namespace") {
        return (space: string) => ownProcess(target.namespace(space), object, [...path, space]);
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
