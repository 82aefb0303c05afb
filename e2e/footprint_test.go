//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

func itoa(n int) string { return strconv.Itoa(n) }

// footprint lists what the machine has because of a data directory: its processes, its socket, its files of running
// instances, and mounts below it. Flow-log files, the lock file and the agent's log are meant to stay.
func (h *host) footprint() []string {
	h.t.Helper()
	var all []string
	for _, p := range processes(h.t) {
		if slices.ContainsFunc(p.args, func(a string) bool { return a == h.dir || strings.Contains(a, "="+h.dir+"/") }) {
			all = append(all, fmt.Sprintf("process %d: %s", p.pid, strings.Join(p.args, " ")))
		}
	}
	for _, pattern := range []string{"agent.sock", "run/*"} {
		files, err := filepath.Glob(filepath.Join(h.dir, pattern))
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, files...)
	}
	for _, list := range []string{"/proc/self/mounts", "/proc/net/unix"} {
		for line := range strings.Lines(read(h.t, list)) {
			if strings.Contains(line, h.dir+"/") {
				all = append(all, list+": "+strings.TrimSpace(line))
			}
		}
	}
	return all
}

// space is the network namespace of a netns instance.
type space struct {
	path  string // below /run/netns
	inode uint64
}

// spaces gives the namespaces of all running netns instances, by name of the instance.
func (h *host) spaces() map[string]space {
	h.t.Helper()
	var st agent.Status
	h.json(&st, "status")
	all := map[string]space{}
	for _, i := range st.Instances {
		path := h.instance(i.Name).Info["netns"]
		info, err := os.Stat(path)
		if err != nil {
			h.t.Fatalf("the namespace of %s: %v", i.Name, err)
		}
		all[i.Name] = space{path, info.Sys().(*syscall.Stat_t).Ino}
	}
	return all
}

// traces lists what of the namespace the machine has: its name, its mount, and processes in it.
func (s space) traces(t testing.TB) []string {
	t.Helper()
	var all []string
	if _, err := os.Lstat(s.path); err == nil {
		all = append(all, s.path)
	}
	for line := range strings.Lines(read(t, "/proc/self/mounts")) {
		if strings.Contains(line, s.path+" ") {
			all = append(all, "mount "+strings.TrimSpace(line))
		}
	}
	for _, p := range processes(t) {
		if p.space == s.inode {
			all = append(all, fmt.Sprintf("process %d in %s: %s", p.pid, s.path, strings.Join(p.args, " ")))
		}
	}
	return all
}

// devices are the network devices of the namespace the tests run in.
func devices(t testing.TB) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(read(t, "/proc/net/dev")) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

type proc struct {
	pid   int
	args  []string
	space uint64 // inode of its network namespace; 0 for one that has ended
}

func processes(t testing.TB) []proc {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var all []proc
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // has ended
		}
		p := proc{pid: pid, args: strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")}
		if info, err := os.Stat(filepath.Join("/proc", e.Name(), "ns/net")); err == nil {
			p.space = info.Sys().(*syscall.Stat_t).Ino
		}
		all = append(all, p)
	}
	return all
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// gone fails unless nothing of the namespaces is left, nor of the data directory, and the devices are as they were.
func (h *host) gone(spaces map[string]space, before []string) {
	h.t.Helper()
	for name, s := range spaces {
		if left := s.traces(h.t); len(left) > 0 {
			h.t.Errorf("%s left behind:\n%s", name, strings.Join(left, "\n"))
		}
	}
	if left := h.footprint(); len(left) > 0 {
		h.t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	if now := devices(h.t); !slices.Equal(now, before) {
		h.t.Errorf("network devices: %v before, %v now", before, now)
	}
}
