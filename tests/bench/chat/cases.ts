/** The loads that every system is given. */

import type { Protocol } from "./load_plan.ts";

/** So many connections, and so many writes under way on each. */
export interface Shape {
  readonly connections: number;
  readonly lanes: number;
}

/** One load, in the shape that suits each system. */
export interface Case {
  readonly name: "1 client" | "64 clients" | "1,000 clients" | "pipelined";
  readonly title: string;
  /** Whether it makes a difference where the clients are. */
  readonly isSpread: boolean;
  readonly shapes: Readonly<Record<Protocol, Shape>>;
}

function alike(shape: Shape): Case["shapes"] {
  return { etcd: shape, nats: shape, skein: shape };
}

/**
 * Clients of etcd share connections, as in its own benchmark: it is faster so,
 * and HTTP/2 is made for it. All others have one each.
 */
export const CASES: readonly Case[] = [
  {
    name: "1 client",
    title: "1 client, one write at a time",
    isSpread: false,
    shapes: alike({ connections: 1, lanes: 1 }),
  },
  {
    name: "64 clients",
    title: "64 clients, one write at a time each",
    isSpread: true,
    shapes: {
      ...alike({ connections: 64, lanes: 1 }),
      etcd: { connections: 4, lanes: 16 },
    },
  },
  {
    name: "1,000 clients",
    title: "1,000 clients, one write at a time each",
    isSpread: true,
    shapes: {
      ...alike({ connections: 1_000, lanes: 1 }),
      etcd: { connections: 20, lanes: 50 },
    },
  },
  {
    name: "pipelined",
    title: "Pipelined: 64 clients, 16 writes under way each",
    isSpread: true,
    shapes: alike({ connections: 64, lanes: 16 }),
  },
];

/** Connections of the largest case: as many sessions are needed. */
export const CLIENTS_MAX = Math.max(
  ...CASES.map(({ shapes }) => shapes.skein.connections),
);
