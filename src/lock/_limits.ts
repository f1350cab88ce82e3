/** The figures of a lock, in milliseconds where they are times. The Lua twins repeat those of the transitions. */

/** How long a free lock remembers its fence. After that the clock's seed is above it anyway. */
export const FENCE_RETENTION = 86_400_000;

/** What the deadline of a record is rounded up to. */
export const HOUR = 3_600_000;

/** How long a lock that was handed over waits for its new holder to speak up: what a dead waiter costs. */
export const HAND_OVER = 1000;

/** How long a place in the queue lasts without a word from its owner. */
export const TICKET = 15_000;

/** Asking again renews a ticket that would gain at least this much. */
export const TICKET_GAIN = 4000;

/** The longest queue, and the most that may share one lock: a record must fit into every engine's value. */
export const MOST_SHARING = 256;

/**
 * How many ids of ended acquisitions a record remembers, so that a copy that arrives late is refused: a few releases' worth, as a copy
 * is late by one request, and every id costs each record 23 bytes.
 */
export const DONE_REMEMBERED = 8;

/** How often who is in a queue asks again although nothing was heard: renews the ticket, and survives a deaf engine. */
export const CHECK = 5000;

/** The longest pause of who is in a queue on an engine that cannot notify: well within {@linkcode HAND_OVER}. */
export const QUEUE_PAUSE = 250;

/** The longest pause of others. */
export const PAUSE = 1000;

/** The longest lease. */
export const LONGEST = 365 * 86_400_000;
