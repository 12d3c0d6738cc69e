/** For questions that the coordinator answers at once. */
export const REQUEST_TIMEOUT_MS = 10_000;
