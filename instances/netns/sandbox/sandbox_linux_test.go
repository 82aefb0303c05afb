package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ownNetwork makes a sandbox of these tests stay in the network namespace that it was started in: one of a user
// namespace may enter no other.
const ownNetwork = "SANDBOX_TEST_OWN_NETWORK"

// noSleep takes out the second that a process with the race detector would sleep at its end.
const noSleep = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Args[0] == Arg0 {
		if os.Getenv(ownNetwork) != "" {
			own, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY, 0)
			if err == nil {
				err = unix.Dup3(own, NetworkFD, 0)
			}
			if err != nil {
				panic(err)
			}
		}
		_ = unix.CloseRange(StatusFD, 1<<20, unix.CLOSE_RANGE_CLOEXEC)
		Main()
	}
	os.Exit(m.Run())
}

// box is a sandbox under test, in the network namespace of the test: nothing in it uses the network.
type box struct {
	cmd    *exec.Cmd
	events *Events
	output string
}

// start starts a sandbox; userNS: as root only in a user namespace.
func start(t *testing.T, task Task, userNS bool) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	b := &box{output: filepath.Join(t.TempDir(), "output")}
	out, err := os.Create(b.output)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	status, far, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	network, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	stdin, err := TaskFile(task)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	b.cmd = exec.Command("/proc/self/exe")
	b.cmd.Args, b.cmd.Env = []string{Arg0}, []string{noSleep}
	b.cmd.Stdin, b.cmd.Stdout, b.cmd.Stderr, b.cmd.ExtraFiles = stdin, out, out, []*os.File{far, network}
	b.cmd.SysProcAttr = Attr()
	b.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if userNS {
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		b.cmd.Env = []string{noSleep, ownNetwork + "=1"}
		b.cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET
		b.cmd.SysProcAttr.UidMappings, b.cmd.SysProcAttr.GidMappings = all, all
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.events = NewEvents(status)
	t.Cleanup(func() {
		b.cmd.Process.Kill()
		b.cmd.Wait()
		status.Close()
	})
	return b
}

// end waits for the end and gives output and exit codes.
func (b *box) end(t *testing.T) (string, []int) {
	t.Helper()
	if err := b.events.Await(); err != nil {
		t.Fatal(err)
	}
	codes := map[int]int{}
	for {
		ev, err := b.events.Next()
		if err == io.EOF {
			break
		}
		if err != nil || ev.Exit == nil {
			t.Fatal(ev, err)
		}
		codes[ev.Command] = *ev.Exit
	}
	if err := b.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.output)
	if err != nil {
		t.Fatal(err)
	}
	var list []int
	for i := range len(codes) {
		list = append(list, codes[i])
	}
	return string(text), list
}

func TestSandbox(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	task := Task{Hostname: "web-1", Hosts: file("hosts", "10.0.0.1 a\n"), ResolvConf: file("resolv", "# none\n"), Nsswitch: file("nss", "hosts: files\n")}
	mark := filepath.Join("/var/tmp", filepath.Base(dir)+fmt.Sprint(os.Getpid()))
	t.Cleanup(func() { os.Remove(mark) })
	for name, test := range map[string]struct {
		script, want string
		code         int
	}{
		"files of the instance":    {script: "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf /etc/nsswitch.conf", want: "web-1\nweb-1\n10.0.0.1 a\n# none\nhosts: files\n"},
		"exit code":                {script: "exit 3", code: 3},
		"signal":                   {script: "kill -KILL $$", code: 137},
		"host files can be hidden": {script: "rm /etc/hostname && ! test -e /etc/hostname && echo x > /etc/hostname && cat /etc/hostname", want: "x\n"},
		"writes go nowhere":        {script: "echo x > " + mark + " && cat " + mark, want: "x\n"},
		"hosts is read-only":       {script: "echo x 2>/dev/null >> /etc/hosts || echo no", want: "no\n"},
		"processes":                {script: "set -- /proc/[0-9]*; echo $*", want: "/proc/1 /proc/@\n"},
		"tmp is empty":             {script: "ls -A /tmp /run; stat -c %a /tmp /dev/shm", want: "/run:\nlock\n\n/tmp:\n1777\n1777\n"},
		"devices":                  {script: "ls /dev; echo x > /dev/null; head -c 2 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c", want: "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n2\n3\n"},
		"environment":              {script: "env | sort | grep -v ^PWD= | grep -v ^_=", want: "HOME=/root\nHOSTNAME=web-1\nLANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nUSER=root\n"},
		"where":                    {script: "pwd; readlink /proc/self/fd/0; ls -d /root; touch /root/x && ls /root/x", want: "/\n/dev/null\n/root\n/root/x\n"},
		"capabilities":             {script: "grep CapBnd /proc/self/status", want: "CapBnd:\t00000000a00435fb\n"},
		"no way back":              {script: "mount -t tmpfs x /mnt 2>/dev/null; umount /proc/sys 2>/dev/null; chroot /proc/1/root true 2>/dev/null; mknod /tmp/x b 8 0 2>/dev/null; echo $?", want: "1\n"},
		"sysctls":                  {script: "echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no; echo h 2>/dev/null > /proc/sysrq-trigger || echo no", want: "no\nno\n"},
		"bounds": {script: "for d in /tmp /dev/shm /run /var/tmp; do dd if=/dev/zero of=$d/full bs=1M 2>/dev/null || echo $(( ($(stat -c %s $d/full) + (2<<20)) >> 22 )); rm $d/full; done",
			want: "16\n8\n4\n32\n"}, // in units of 4 MiB, rounded
		"IPC":       {script: "cat /proc/sysvipc/shm | wc -l", want: "1\n"},
		"orphans":   {script: "(setsid sh -c 'sleep 0.2; echo later' &); echo now", want: "now\nlater\n"},
		"kill all":  {script: "(setsid sleep 1000 &); kill -9 -1; echo survived", want: "survived\n"},
		"shell":     {script: "a=1\nif true; then\n  echo lines $a\nfi", want: "lines 1\n"},
		"init safe": {script: "kill -9 1; kill -TERM 1; ls /proc/1/fd/1 2>/dev/null || cat /proc/1/environ 2>/dev/null || echo hidden", want: "hidden\n"},
	} {
		for way, userNS := range map[string]bool{"root": false, "user namespace": true} {
			t.Run(name+"/"+way, func(t *testing.T) {
				task := task
				task.Commands = []string{test.script}
				out, codes := start(t, task, userNS).end(t)
				out = withoutNotes(out)
				if name == "processes" { // the first and the shell
					out = regexp.MustCompile(`/proc/\d+\n`).ReplaceAllString(out, "/proc/@\n")
				}
				if out != test.want || len(codes) != 1 || codes[0] != test.code {
					t.Errorf("%q, exit %v; want %q, %d", out, codes, test.want, test.code)
				}
			})
		}
	}
	if _, err := os.Lstat(mark); err == nil {
		t.Error("what was written is on the host")
	}
}

// withoutNotes takes out what the sandbox itself says of the host.
func withoutNotes(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "vpclab: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestManyCommands(t *testing.T) {
	out, codes := start(t, Task{Commands: []string{"echo a; exit 1", "sleep 0.1; echo b; exit 2", "no-such-program"}}, false).end(t)
	if fmt.Sprint(codes) != "[1 2 127]" || !strings.Contains(out, "a\n") || !strings.Contains(out, "b\n") || !strings.Contains(out, "not found") {
		t.Errorf("%v: %q", codes, out)
	}
}

// TestKilledWithInit: with the first process ends all.
func TestKilledWithInit(t *testing.T) {
	b := start(t, Task{Commands: []string{"setsid sleep 4711 & exec sleep 4712"}}, false)
	if err := b.events.Await(); err != nil {
		t.Fatal(err)
	}
	b.cmd.Process.Kill()
	b.cmd.Wait() // the kernel waits for all of the namespace before
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range cmdlines {
		if text, _ := os.ReadFile(path); bytes.Contains(text, []byte("sleep\x00471")) {
			t.Errorf("%s: %q", path, text)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		task Task
		want string
	}{
		"no overlay": {Task{Commands: []string{"echo x"}, Overlay: "no-such-fs"}, "an overlay root cannot be had: this kernel has no overlayfs"},
		"no hosts":   {Task{Commands: []string{"echo x"}, Hosts: "/no/such/file"}, "/no/such/file"},
		"no resolv":  {Task{Commands: []string{"echo x"}, ResolvConf: "/no/such/file"}, "/no/such/file"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, test.task, false)
			if err := b.events.Await(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			b.cmd.Wait()
			if out, _ := os.ReadFile(b.output); len(out) > 0 {
				t.Errorf("something ran: %q", out)
			}
		})
	}
}

func TestByHand(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{Arg0}
	cmd.Stdin = strings.NewReader(`{"commands":["echo x"]}`)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := NewEvents(r).Await(); err == nil || !strings.Contains(err.Error(), "not by hand") {
		t.Errorf("%v", err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("no error")
	}
}

func TestEvents(t *testing.T) {
	e := NewEvents(strings.NewReader(`{"ready":true}` + "\n" + `{"command":1,"exit":0}` + "\nnonsense"))
	if err := e.Await(); err != nil {
		t.Fatal(err)
	}
	if ev, err := e.Next(); err != nil || ev.Command != 1 || ev.Exit == nil || *ev.Exit != 0 {
		t.Fatal(ev, err)
	}
	if _, err := e.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"": "ended before it was ready", `{"failure":"no overlay"}`: "no overlay", "{": "sandbox: "} {
		if err := NewEvents(strings.NewReader(text)).Await(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestKeep(t *testing.T) {
	for n, want := range map[int]string{0: "", 5: "xxxxx", 9: "xxxxxxxxx", 10: "xxxxxxxxxx\nvpclab: output after 0 MiB is not kept\n", 5000: "xxxxxxxxxx\nvpclab: output after 0 MiB is not kept\n"} {
		var b bytes.Buffer
		from := strings.NewReader(strings.Repeat("x", n))
		if keep(&b, from, 10); b.String() != want || from.Len() != 0 {
			t.Errorf("%d: %q, %d unread", n, &b, from.Len())
		}
	}
}
