//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vandalLab has an instance that destroys what it can, and one that only wants to live.
const vandalLab = `
lab: vandals
vpcs:
  main: { cidr: 10.0.0.0/16, subnets: { a: 10.0.1.0/24 } }
security-groups:
  web: { ingress: [http from anywhere, tcp 8000 from anywhere] }
instances:
  vandal-1:
    subnet: a
    ip: 10.0.1.10
    groups: [web]
    run: |
      grep -q vpclab-run /proc/1/cmdline || { echo "not in a sandbox: nothing is done"; exit 99; }
      echo "I am $(hostname), $(cat /etc/hostname), and see $(ls /proc | grep -c '^[0-9]')"
      rm -f /etc/hostname && test ! -e /etc/hostname && echo deleted
      dd if=/dev/zero of=/tmp/full bs=1M 2>&1 | grep -o 'No space left on device'
      mkdir -p /var/lib/vandal && dd if=/dev/zero of=/var/lib/vandal/full bs=1M 2>&1 | grep -o 'No space left on device'
      rm -rf /srv /opt/vpclab-e2e-* /var/log 2>/dev/null
      echo h > /proc/sysrq-trigger && echo wrote sysrq
      echo 1 > /proc/sys/kernel/panic && echo wrote sysctl
      umount -a 2>/dev/null
      umount /proc/sys 2>/dev/null && echo unmounted
      mount -t tmpfs none /mnt 2>/dev/null && echo mounted
      mknod /dev/disk b 8 0 2>/dev/null && echo made a device
      hostname other-name 2>/dev/null && echo renamed
      ls -l /proc/1/fd 2>/dev/null | grep -q run.log && echo sees descriptors
      kill -9 -1
      echo "killed all"
  victim-1:
    subnet: a
    ip: 10.0.1.20
    groups: [web]
    listen: [80]
    run:
      - while sleep 0.1; do date > /tmp/alive; done
      - 'hostname; exit 3'
tests:
  - { from: vandal-1, to: victim-1:80, expect: answered }
`

// state is what of the host a vandal might change.
func state(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range []string{"/etc/hostname", "/proc/sys/kernel/panic", "/proc/sys/kernel/hostname"} {
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all[path] = string(text)
	}
	for _, dir := range []string{"/home", "/srv", "/usr/local", "/opt", "/var/log", "/etc", "/var/lib", "/dev"} {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			all[dir] += e.Name() + " "
		}
	}
	return all
}

func testVandal(t *testing.T, h *host) {
	precious, err := os.MkdirTemp("/opt", "vpclab-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(precious)
	if err := os.WriteFile(filepath.Join(precious, "file"), []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := state(t)
	file := h.open(vandalLab)
	up := h.start(nil, "up", file, "--driver", "netns")
	up.await(&up.err, running)
	output := func(instance string) string {
		text, _ := os.ReadFile(h.instance(instance).Info["run output"])
		return string(text)
	}
	eventually(t, "the vandal has done all it can", func() bool { return strings.Contains(output("vandal-1"), "killed all") })
	said := output("vandal-1")
	for _, words := range []string{"I am vandal-1, vandal-1, and see", "deleted", "No space left on device\nNo space left on device\n"} {
		if !strings.Contains(said, words) {
			t.Errorf("no %q in:\n%s", words, said)
		}
	}
	for _, words := range []string{"unmounted", "mounted", "made a device", "renamed", "sees descriptors", "wrote sys"} {
		if strings.Contains(said, words) {
			t.Errorf("%q in:\n%s", words, said)
		}
	}
	eventually(t, "its exit code is told", func() bool { return h.instance("vandal-1").Info["run"] == "ended with exit code 0" })
	for path, was := range before {
		if now := state(t)[path]; now != was {
			t.Errorf("%s: %q, before: %q", path, now, was)
		}
	}
	if text, err := os.ReadFile(filepath.Join(precious, "file")); err != nil || string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
	for _, path := range []string{"/tmp/full", "/tmp/alive", "/var/lib/vandal"} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is on the host", path)
		}
	}
	victim := h.instance("victim-1")
	if victim.Info["run"] != "1 running, 2 ended with exit code 3" || output("victim-1") != "victim-1\n" {
		t.Errorf("%v: %q", victim.Info, output("victim-1"))
	}
	if shown := h.must("show", "victim-1"); !strings.Contains(shown, "1 running, 2 ended with exit code 3") || !strings.Contains(shown, "run.log") {
		t.Errorf("%s", shown)
	}
	// exec is on the host's files, and outside the sandbox.
	if r := h.run("exec", "vandal-1", "--", "sh", "-c", "cat /etc/hostname; ls /tmp/full"); r.code == 0 || r.out != before["/etc/hostname"] {
		t.Errorf("%v", r)
	}
	h.must("test", file)
	st := tree(t, up.cmd.Process.Pid)
	up.stop()
	eventually(t, "nothing runs any more", func() bool { return len(alive(st)) == 0 })
}

func TestRunVandal(t *testing.T) {
	needsRoot(t)
	testVandal(t, newHost(t))
}

func TestRootlessRunVandal(t *testing.T) { testVandal(t, rootless(t, allAllowed)) }

// TestRunChanged: other commands make another instance.
func TestRunChanged(t *testing.T) {
	needsRoot(t)
	h := newHost(t)
	text := strings.Replace(quietLab, "listen: [80]", "listen: [80], run: 'echo one'", 1)
	h.must("up", h.lab(text), "--detach", "--driver", "netns")
	first := h.instance("web-1")
	file := h.lab(strings.Replace(text, "echo one", "echo two", 1))
	h.must("apply", file, "--adopt")
	second := h.instance("web-1")
	if first.ID == second.ID || second.Info["run output"] == first.Info["run output"] {
		t.Errorf("%v, then %v", first.Info, second.Info)
	}
	eventually(t, "the new command has run", func() bool { out, _ := os.ReadFile(second.Info["run output"]); return string(out) == "two\n" })
	h.must("apply", file)
	if third := h.instance("web-1"); third.ID != second.ID {
		t.Error("applying the same file again made another instance")
	}
	h.fails(1, "the commands need an instance of kind netns", "apply", h.lab(strings.Replace(text, "lab: quiet", "lab: other", 1)), "--driver", "netstack")
}
