/**
 * Rounds of measurements: every contender runs once in each round, one after the other, so that whatever
 * else the machine does
 * hits all of them alike. Medians are compared, and the spread of the rounds is told with them.
 */

import process from "node:process";

/** The median of the samples. */
export function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1]!;
}

/** A ratio of two contenders: its median over the rounds, and the least and the most of them. */
export interface Ratio {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/**
 * The factor by which the first one is faster than the second: the ratio of the medians, and the spread of
 * the rounds' ratios.
 */
export function ratioOf(ours: readonly number[], peer: readonly number[]): Ratio {
  const each = ours.map((time, round) => peer[round]! / time);
  return { median: median(peer) / median(ours), least: Math.min(...each), most: Math.max(...each) };
}

/** One contender of a group: runs `ops` operations and resolves when they are done. */
export interface Contender {
  readonly name: string;
  run(ops: number): Promise<unknown> | void;
}

/**
 * Samples by the contender's name: nanoseconds of the processor an operation, all threads included, in each
 * round.
 */
export type Samples = Record<string, number[]>;

/**
 * Runs all contenders in turns; the rounds before `rounds` warm up.
 *
 * Each turn begins with as many operations that are not measured: a whole collection, and the turns of the
 * others, take the
 * shapes of objects from the compiled code of a contender that has no object alive, and the first thousands
 * of calls after it
 * would measure the compiler.
 */
export async function interleaved(
  contenders: readonly Contender[],
  { rounds, ops, warmups = 1 }: { readonly rounds: number; readonly ops: number; readonly warmups?: number },
): Promise<Samples> {
  const samples: Samples = {};
  for (let round = -warmups; round < rounds; round++) {
    for (const { name, run } of contenders) {
      (globalThis as { gc?: () => void }).gc?.(); // so that no contender pays for the garbage of another
      await run(ops);
      const began = process.cpuUsage(); // processor time, so that a busy machine does not count
      await run(ops);
      const { user, system } = process.cpuUsage(began);
      if (round >= 0) (samples[name] ??= []).push((user + system) * 1000 / ops);
    }
  }
  return samples;
}
