/** The variables of this process, as they are now. Handed to the configuration and the command line, which read nothing by themselves. */
export const environment = (): Readonly<Record<string, string | undefined>> => ({ ...process.env });
