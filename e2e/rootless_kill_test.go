//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

// busyLab has an instance that runs something by itself.
var busyLab = strings.Replace(quietLab, "listen: [80]", "listen: [80], run: 'sleep 1000 & exec sleep 1001'", 1)

// busy brings the lab up without root, with programs running in every way there is, and gives the agent, its helper, and all
// processes that the two have started.
func busy(t *testing.T, h *host) (st agent.Status, helper int, all []int) {
	t.Helper()
	h.must("up", h.open(busyLab), "--detach", "--driver", "netns")
	h.json(&st, "status")
	p := h.start(nil, "exec", "guest-1", "--", "sh", "-c", "setsid sleep 1002 & echo ready; exec sleep 1003")
	p.quiet = true
	p.await(&p.out, "ready")
	pids := ofHelper(t, h)
	if len(pids) != 1 {
		t.Fatalf("helpers: %v", pids)
	}
	all = tree(t, st.Agent.PID)
	if len(all) < 7 { // agent, helper, sandbox with two, exec with two
		t.Fatalf("only %v run: this tests nothing", all)
	}
	return st, pids[0], all
}

// taps counts the TUN descriptors of a process.
func taps(t *testing.T, pid int) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd/", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(dir + fd.Name()); strings.HasSuffix(to, "/tun") { // of a mount namespace that is gone the beginning is missing
			n++
		}
	}
	return n
}

// inSpace lists processes in the network namespaces.
func inSpace(t *testing.T, spaces map[string]space) (pids []int) {
	t.Helper()
	for _, p := range processes(t) {
		for _, s := range spaces {
			if p.space == s.inode {
				pids = append(pids, p.pid)
			}
		}
	}
	return pids
}

func TestRootlessHelperKilled(t *testing.T) {
	h := rootless(t, allAllowed)
	st, helper, all := busy(t, h)
	spaces := h.spaces()
	if n := taps(t, st.Agent.PID); n != 2 || len(inSpace(t, spaces)) < 4 {
		t.Fatalf("%d TAPs, processes %v", n, inSpace(t, spaces))
	}
	if err := syscall.Kill(helper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all that the helper started ends with it", func() bool { return len(alive(all[1:])) == 0 && len(inSpace(t, spaces)) == 0 })
	eventually(t, "the agent lets go of the TAPs", func() bool { return taps(t, st.Agent.PID) == 0 })
	eventually(t, "both instances have a problem", func() bool {
		h.json(&st, "status")
		for _, i := range st.Instances {
			if !strings.Contains(i.Problem, "the helper process has ended: signal: killed") || i.State == "running" {
				return false
			}
		}
		return len(st.Instances) == 2
	})
	begin := time.Now()
	if r := h.run("exec", "guest-1", "--", "true"); r.code == 0 || !strings.Contains(r.err, "helper process has ended") && !strings.Contains(r.err, "stopped") {
		t.Errorf("%v", r)
	}
	if r := h.run("probe", "guest-1", "web-1:80", "--exit-code"); r.code == 0 {
		t.Errorf("%v", r)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v to say that nothing works", took)
	}
	// Started again, they have a new helper.
	for _, name := range []string{"web-1", "guest-1"} {
		h.must("restart", name)
	}
	if pids := ofHelper(t, h); len(pids) != 1 || pids[0] == helper {
		t.Errorf("helpers: %v", pids)
	}
	if r := h.run("probe", "guest-1", "web-1:80", "--exit-code"); r.code != 0 {
		t.Errorf("%v", r)
	}
	h.must("down")
	if left := alive([]int{st.Agent.PID}); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestRootlessAgentKilled(t *testing.T) {
	h := rootless(t, allAllowed)
	st, _, all := busy(t, h)
	spaces := h.spaces()
	before := read(t, "/proc/self/mounts")
	if err := syscall.Kill(st.Agent.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all that the agent started ends with it", func() bool { return len(alive(all)) == 0 && len(inSpace(t, spaces)) == 0 })
	if after := read(t, "/proc/self/mounts"); strings.Count(after, h.dir) != strings.Count(before, h.dir) {
		t.Errorf("mounts:\n%s", after)
	}
	// The next agent clears the files away, and runs the same lab.
	p := h.up(h.open(busyLab), "--driver", "netns")
	p.stop()
}

// TestRootlessDown: the end that is meant leaves nothing either.
func TestRootlessDown(t *testing.T) {
	h := rootless(t, allAllowed)
	_, _, all := busy(t, h)
	h.must("down")
	eventually(t, "all has ended", func() bool { return len(alive(all)) == 0 })
}
