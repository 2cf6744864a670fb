/** The built-in task under whose name `wakeful run` keeps its runs. Nobody else may declare, claim, queue or retry it. */
export const runTaskName = "run";
