package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errGone is a process that is not there, or that has ended and only waits to be asked how.
var errGone = errors.New("there is no such process")

// startTime tells processes apart that had one number after the other: the boot's id and the clock ticks since it (proc(5),
// /proc/pid/stat, field 22).
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	if state := fields[0]; state == "Z" || state == "X" {
		return "", errGone
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19], nil
}

// end kills the process and waits until all its threads are gone, and with them its sockets. It holds the process by a
// descriptor, so that a new one that got its number is not hit.
func (p process) end() error {
	if !p.lives() {
		return nil
	}
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(fd)
	if !p.lives() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return gone(err)
	}
	for deadline := time.Now().Add(killPatience); ; {
		left := time.Until(deadline)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(left, 0).Milliseconds()))
		switch {
		case n > 0:
			return nil
		case left <= 0:
			return errStays
		case err != nil && err != unix.EINTR:
			return err
		}
	}
}

func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// findProcess finds a process by a part of one of its arguments.
func findProcess(part string) (process, bool) {
	dir, _ := os.ReadDir("/proc")
	for _, e := range dir {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.Contains(line, []byte("path="+part+",")) {
			continue
		}
		if started, err := startTime(pid); err == nil {
			return process{pid, started}, true
		}
	}
	return process{}, false
}
