/**
 * Loaded before every test file. A pid that was read too early is 0 or no number, and `kill(0)` ends every process of the group:
 * the test run, and the program that started it.
 */
const kill = process.kill.bind(process);

process.kill = (pid, signal) => {
  const isHarmless = signal === 0;
  if (!isHarmless && (!Number.isInteger(pid) || pid === 0 || Math.abs(pid) === 1))
    throw new RangeError(`a test may not send ${signal ?? "SIGTERM"} to pid ${pid}: it names a group, every process, or none`);
  return kill(pid, signal);
};
