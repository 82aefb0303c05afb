// Package doctor says what this machine allows: which drivers can run instances, what is lacking, and how each lack is mended.
//
// It owns the checks and the trials behind them: it really makes a user namespace, a TAP, an overlay and a socket, each in
// a child process with namespaces of its own, and takes them away again. It changes nothing of the machine, needs no agent
// and no privilege, and never mends anything by itself.
//
// Read report.go first, then checks.go: each check is a function of a System, which is an interface so that machines that
// are not at hand can be tested. real.go and trial_linux.go are this machine.
package doctor
