/**
 * What a training step must hold at least, counted from the sizes alone: the allocator is measured
 * against this, so nothing here asks it.
 *
 * @module
 */

/** Sizes that decide. A: channels of the heads that are computed; F: channels inside the MLP. */
export interface MemorySizes {
  B: number;
  T: number;
  L: number;
  NH: number;
  C: number;
  A: number;
  F: number;
  V: number;
}

/** One line of the sum. */
export interface MemoryLine {
  what: string;
  formula: string;
  /** Numbers of 4 bytes. */
  numbers: number;
}

/** The bytes on the device, beside the least that they could be. */
export interface Memory {
  lines: MemoryLine[];
  /** Bytes of all lines: 16 a parameter, and the activations. */
  least_bytes: number;
  /** Bytes in all buffers of the model, its optimiser and its activations. */
  gpu_bytes: number;
  /** `gpu_bytes` / `least_bytes`. */
  ratio: number;
}

/** Parameters of a GPT-2 whose head is its token table. */
export function countParameters({ T, L, C, A, F, V }: MemorySizes): number {
  const attention = C * 3 * A + 3 * A + A * C + C;
  const mlp = C * F + F + F * C + C;
  return V * C + T * C + L * (2 * C + attention + 2 * C + mlp) + 2 * C;
}

/**
 * Lists parameters, gradients, moments, and what forward leaves behind for backward. Gradients of
 * activations, gated copies, head statistics and scratch are not needed by the task: what we spend
 * on them counts against us.
 */
export function memoryLines(sizes: MemorySizes): MemoryLine[] {
  const { B, T, L, NH, C, A, F, V } = sizes;
  const P = countParameters(sizes), R = B * T;
  const parameters = "V C + T C + L (C 3A + 3A + A C + C + 2 C F + F + C + 4 C) + 2 C";
  return [
    { what: "parameters P", formula: parameters, numbers: P },
    { what: "gradients", formula: "P", numbers: P },
    { what: "first and second moments", formula: "2 P", numbers: 2 * P },
    { what: "tokens and targets", formula: "2 R, R = B T", numbers: 2 * R },
    { what: "residual stream", formula: "(2 L + 1) R C", numbers: (2 * L + 1) * R * C },
    { what: "layer norms", formula: "(2 L + 1) R (C + 2)", numbers: (2 * L + 1) * R * (C + 2) },
    { what: "queries, keys, values", formula: "L R 3 A", numbers: L * R * 3 * A },
    { what: "head outputs", formula: "L R A", numbers: L * R * A },
    { what: "attention's log-sum-exp", formula: "L R NH", numbers: L * R * NH },
    { what: "MLP before and after GELU", formula: "L R 2 F", numbers: L * R * 2 * F },
    { what: "logits", formula: "R V", numbers: R * V },
  ];
}

/** The sum, and what was measured against it. */
export function compareMemory(sizes: MemorySizes, gpuBytes: number): Memory {
  const lines = memoryLines(sizes);
  const least = 4 * lines.reduce((sum, { numbers }) => sum + numbers, 0);
  return { lines, least_bytes: least, gpu_bytes: gpuBytes, ratio: gpuBytes / least };
}
