// Package sandbox owns what runs on an instance by itself (`run:` in a lab file): the commands of one instance run in
// mount, PID, IPC and UTS namespaces of their own, over a root directory that is thrown away.
//
// The root is an overlay over the host's files: they can be read, and what is written or deleted is so in memory only,
// within bounds. /proc, /dev, /tmp and /run are the sandbox's own, and capabilities that reach beyond it are dropped.
// Nothing is ever run where such a root cannot be had. It knows nothing of drivers; who starts it makes the instance's
// network namespace and passes it along.
//
// Read task.go first, then main_linux.go and root_linux.go. Linux only.
package sandbox
