/** Waits for a condition, not for a time: repeats the check until it passes, or throws its last failure. */
export async function eventually(
  check: () => void | Promise<void>,
  timeoutMs = 20_000,
  pauseMs = 50,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > deadlineMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}
