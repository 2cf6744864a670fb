/** The value, or a failure that says so: what a test needs and the types only hope for. */
export function present<T>(value: T | null | undefined): T {
  if (value === undefined || value === null) throw new Error(`a value was expected and is ${String(value)}`);
  return value;
}
