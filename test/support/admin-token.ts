/** Of the API that a test asks. By itself, so that who needs it alone loads no API. */
export const adminToken = "admin-token-of-the-test-0123456789abcdefghij";
