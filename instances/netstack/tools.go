package netstack

// Tools lists the built-in programs that Exec runs, sorted.
func Tools() []string { return programNames() }
