package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attr is how the first process of a sandbox has to be started.
func Attr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS, Setsid: true}
}

// TaskFile gives a file in memory with a task, for the first process's standard input.
func TaskFile(t Task) (*os.File, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("task", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "task")
	_, err = f.Write(text)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// environment of the commands; nothing of the agent's own.
func environment(t Task) []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LANG=C.UTF-8", "HOSTNAME=" + t.Hostname}
}

// Main is the main of a sandbox's first process: it makes the sandbox, starts the commands, and waits until nothing runs in it
// any more. It does not return. All descriptors but the first three must be close-on-exec.
func Main() {
	runtime.LockOSThread() // it is this thread that enters the network namespace and drops capabilities
	status := json.NewEncoder(os.NewFile(StatusFD, "status"))
	var task Task
	err := json.NewDecoder(os.Stdin).Decode(&task)
	if err == nil {
		err = isolate(task)
	}
	if err != nil {
		status.Encode(Event{Failure: err.Error()})
		os.Exit(1)
	}
	if err := supervise(task, status); err != nil {
		status.Encode(Event{Failure: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

func isolate(task Task) error {
	if unix.Getpid() != 1 {
		return errors.New("a sandbox's first process is started by the agent, not by hand")
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE) // what runs inside cannot end it
	go func() {
		for range signals {
		}
	}()
	if err := unix.Setns(NetworkFD, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	unix.Close(NetworkFD)
	unix.Umask(0)
	if err := build(task, os.Stdout); err != nil {
		return err
	}
	unix.Umask(0o022)
	// Its descriptors lead out of the sandbox: nobody inside may look at this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the first process: %w", err)
	}
	return dropCapabilities()
}

// supervise starts the commands and waits for whatever ends, until nothing is left.
func supervise(task Task, status *json.Encoder) error {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	written := make(chan struct{})
	go func() { defer close(written); keep(os.Stdout, r, MaxOutput) }()
	commands := map[int]int{}
	ended := map[int]int{} // that could not be started
	for i, text := range task.Commands {
		pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", text}, &syscall.ProcAttr{
			Dir: "/", Env: environment(task), Files: []uintptr{null.Fd(), w.Fd(), w.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			fmt.Fprintf(w, "vpclab: /bin/sh: %v\n", err)
			ended[i] = 127
			continue
		}
		commands[pid] = i
	}
	w.Close()
	status.Encode(Event{Ready: true})
	for i, code := range ended {
		status.Encode(Event{Command: i, Exit: &code})
	}
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil { // nobody is left
			break
		}
		if i, ok := commands[pid]; ok {
			delete(commands, pid)
			code := exitCode(ws)
			status.Encode(Event{Command: i, Exit: &code})
		}
	}
	<-written
	return nil
}

func exitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// keep copies at most max bytes and reads on to the end.
func keep(to io.Writer, from io.Reader, max int64) {
	n, err := io.Copy(to, io.LimitReader(from, max))
	if err == nil && n == max {
		fmt.Fprintf(to, "\nvpclab: output after %d MiB is not kept\n", max>>20)
	}
	io.Copy(io.Discard, from)
}
