/**
 * Whose fault an error is. The library throws the ordinary types that its documentation names
 * (`RangeError`, `TypeError`, ...), and so does the engine when our own code is wrong; their type
 * alone cannot tell a bad flag from a bug. What tells them apart is where they come from: errors
 * thrown while input is read and checked, that is inside {@linkcode preparing}, are remembered as
 * the input's. The error itself stays as it was: same object, type, message and stack.
 *
 * @module
 */

const fromInput = new WeakSet<Error>();

/**
 * Runs what reads and checks input: options, files, texts, models, the adapter. Errors of the types
 * by which the library refuses input are remembered as such: {@linkcode isInputError}. Keep it
 * around exactly that, and training, compiling and measuring outside.
 *
 * @param action Reads, checks, opens; may be asynchronous.
 * @returns What the action returns.
 * @throws What the action throws, unchanged.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { isInputError, preparing } from "./errors.ts";
 *
 * const refuse = () => {
 *   throw new RangeError("pruning_level must be between 0 and 1: 1.3");
 * };
 * assert.throws(() => preparing(refuse), isInputError);
 * assert.throws(refuse, (error) => !isInputError(error));
 * ```
 */
export function preparing<T>(action: () => T): T {
  try {
    const result = action();
    return (result instanceof Promise ? result.catch(judge) : result) as T;
  } catch (error) {
    return judge(error);
  }
}

/** Remembers one error as the input's, where {@linkcode preparing} would not know it, and returns it. */
export function blameInput<E extends Error>(error: E): E {
  fromInput.add(error);
  return error;
}

/** Whether an error was remembered as the input's: its message is for the user, without a stack. */
export function isInputError(error: unknown): boolean {
  return error instanceof Error && fromInput.has(error);
}

function judge(error: unknown): never {
  if (error instanceof Error && refusesInput(error)) fromInput.add(error);
  throw error;
}

/** Whether an error has one of the types by which the library, or the system, refuses input. */
function refusesInput(error: Error): boolean {
  if (thrownByEngine(error)) return false;
  if (error instanceof RangeError || error instanceof TypeError || error instanceof SyntaxError) {
    return true;
  }
  // No adapter, or limits too small. What WebGPU itself complains of is our mistake.
  if (error.name === "GpuError") return !error.message.startsWith("WebGPU error:");
  if (isSystemError(error)) return true;
  // A plain error that only says more about the one it wraps.
  return error.constructor === Error && error.cause instanceof Error && refusesInput(error.cause);
}

/** Files and network: `Deno.errors.*`, or an error with a code such as `ENOSPC`. */
export function isSystemError(error: Error): boolean {
  const types = Object.values(globalThis.Deno?.errors ?? {}); // a browser has none
  return types.some((type) => error instanceof type) ||
    /^E[A-Z0-9]+$/.test(String((error as { code?: unknown }).code ?? ""));
}

/**
 * The words in which V8 (and Deno, for calls from JavaScript) reports a mistake in the code that it
 * runs. So a bug that shows while input is read is still called a bug. No message of the library's
 * own may match; a phrase missing here makes a bug look like bad input, and no more.
 */
const ENGINE = new RegExp(
  [
    "is not (a function|a constructor|iterable|extensible|an object)",
    "^Cannot (read|set) propert(y|ies) of ",
    "^Cannot (destructure property|assign to read only property|add property|delete property)",
    "^Cannot (redefine property|mix BigInt|convert a BigInt|convert undefined or null|convert object)",
    "^Cannot (read|write|access) private ",
    "^Cannot perform .* on a detached ArrayBuffer",
    "^Assignment to constant variable",
    "^Class constructor .* cannot be invoked",
    "^Converting circular structure",
    "^Reduce of empty array",
    "^Illegal (invocation|constructor)",
    "^Failed to (execute|construct) '",
    "^Invalid (array length|typed array length|array buffer length|count value|time value)",
    "^Maximum call stack size exceeded",
    "^Array buffer allocation failed",
    "^(Offset|offset|Start offset|start offset|byte length) .*(bounds|multiple)",
    "^(toFixed|toPrecision|toString)\\(\\) ",
  ].join("|"),
);

function thrownByEngine(error: Error): boolean {
  return (error instanceof TypeError || error instanceof RangeError) &&
    error.cause === undefined && ENGINE.test(error.message);
}
