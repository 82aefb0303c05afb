//go:build !linux

package qemu

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTime tells processes apart that had one number after the other, as ps(1) does, to the second.
func startTime(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", err
	}
	state, started, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if started == "" || strings.HasPrefix(state, "Z") {
		return "", errors.New("there is no such process")
	}
	return strings.TrimSpace(started), nil
}

// end kills the process and waits until it is gone.
func (p process) end() error {
	for deadline := time.Now().Add(killPatience); p.lives(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errStays
		}
		if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// findProcess finds a process by a part of one of its arguments.
func findProcess(part string) (process, bool) {
	out, err := exec.Command("ps", "-ax", "-o", "pid=,command=").Output()
	if err != nil {
		return process{}, false
	}
	for line := range strings.Lines(string(out)) {
		number, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(number)
		if err != nil || pid == os.Getpid() || !strings.Contains(command, "path="+part+",") {
			continue
		}
		if started, err := startTime(pid); err == nil {
			return process{pid, started}, true
		}
	}
	return process{}, false
}
